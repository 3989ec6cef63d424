"""Counts by hand, and against the trees and files that they are counts of."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saejax.interop import saelens
from saejax.lm import gpt2
from saejax.lm.gpt2 import GPT2Config
from saejax.planning import counts
from saejax.sae.inference import InferenceSAE

TOY = GPT2Config(vocab_size=5, n_positions=3, n_embd=2, n_layer=1, n_head=1)
SMALL = GPT2Config(vocab_size=50257, n_positions=1024, n_embd=768, n_layer=12, n_head=12)


def test_parameters_of_a_gpt2():
    assert counts.lm_parameters(TOY) == (10 + 6) + (12 + 6 + 4 + 2) + (16 + 8 + 16 + 2) + 8 + 4
    assert counts.lm_parameters(SMALL) == 124_439_808  # OpenAI's gpt2
    shapes = jax.eval_shape(lambda key: gpt2.init(TOY, key), jax.random.key(0))
    assert counts.tree_bytes(shapes) == 4 * counts.lm_parameters(TOY)


def test_operations_of_a_gpt2():
    block = 2 * (2 * 6 + 2 * 2 + 2 * 8 + 8 * 2) + 2 * (3 * 2) + 2 * (3 * 2)  # four maps; scores and what they weigh, 3 keys
    assert counts.lm_operations(TOY, 3) == block
    assert counts.lm_operations(TOY, 3, logits=True) == block + 2 * 2 * 5
    assert counts.lm_operations(SMALL, 128, blocks=9) * 12 == counts.lm_operations(SMALL, 128) * 9


@pytest.mark.parametrize(
    ("site", "n"),
    [("hook_embed", 0), ("blocks.2.hook_resid_post", 3), ("blocks.2.hook_resid_pre", 3), ("ln_final.hook_normalized", 4)],
)
def test_blocks_of_a_pass_that_ends_at_a_site(site, n):
    assert counts.blocks_run(site, 4) == n


def test_operations_of_an_update():
    assert counts.sae_step_operations(3, 2, 2, 5) == 10 * 3 * 2 * 5
    assert counts.sae_step_operations(3, 2, 4, 5) == 2 * 3 * 5 * (2 + 4 + 4 + 4 + 2)
    assert counts.sae_forward_operations(3, 2, 4, 5) == 2 * 3 * 5 * (2 + 4)


def test_bytes_of_files(tmp_path):
    assert counts.store_bytes(10, [4, 6]) == 10 * (2 * 4 + 8) + 10 * (2 * 6 + 8)
    assert counts.tokens_bytes(7) == 28
    assert (counts.kept_checkpoints(1000, 500), counts.kept_checkpoints(400, 500), counts.kept_checkpoints(9, 2)) == (2, 1, 2)
    assert (counts.written_checkpoints(1000, 500), counts.written_checkpoints(1001, 500)) == (2, 3)
    assert counts.store_reads_bytes(25, 10, 4) == 3 * 10 * 4
    sae = InferenceSAE(*(jnp.ones(shape) for shape in ((8, 300), (300,), (300, 8), (8,))))
    saelens.save(tmp_path, sae, metadata={}, density_F=np.zeros(300))
    on_disk = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert 0 < on_disk - counts.export_bytes(8, 8, 300) < 3000  # headers and cfg.json
