"""A small GPT-2, a text with documents of different lengths, and random autoencoders of any site."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import sparse

from saejax.evaluation.splice import LanguageModel, Spliced
from saejax.features.activity import Activity, ActivityWriter
from saejax.features.text import Text
from saejax.lm import sites, weights
from saejax.lm.tokens import TokenWindows
from saejax.sae.inference import InferenceSAE
from tests.conftest import TESTDATA

END_OF_TEXT = 0


@pytest.fixture(scope="session")
def model() -> LanguageModel:
    config, params = weights.load(TESTDATA / "tiny_gpt2")
    return LanguageModel(params, config, jnp.dtype("float32"))


def text_of(n_windows: int = 12, L: int = 16, vocab_size: int = 60, seed: int = 0) -> Text:
    """Random tokens in documents of 3 to 40 tokens, each after END_OF_TEXT."""
    rng = np.random.default_rng(seed)
    tokens_N = rng.integers(1, vocab_size, n_windows * L).astype(np.int32)
    starts = np.concatenate([[0], np.cumsum(rng.integers(3, 40, len(tokens_N)))])
    starts = starts[starts < len(tokens_N)]
    tokens_N[starts] = END_OF_TEXT
    windows = TokenWindows(tokens_N.reshape(-1, L), starts.astype(np.int64), [f"d{i}" for i in range(len(starts))], "")
    return Text(windows, ~windows.special_mask(END_OF_TEXT).reshape(-1), END_OF_TEXT)


def activity_of(f_NxF: np.ndarray, directory, batch: int = 7, run_entries: int = 50) -> Activity:
    """What an ActivityWriter makes of dense latents, in several runs."""
    writer = ActivityWriter(directory, f_NxF.shape[1], run_entries)
    for start in range(0, len(f_NxF), batch):
        writer.add(sparse.csr_array(f_NxF[start : start + batch]))
    return writer.finish()


def random_latents(n_rows: int, d_sae: int, density: float = 0.2, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.random((n_rows, d_sae)) < density) * rng.exponential(size=(n_rows, d_sae)).astype(np.float32)


def member_of(model: LanguageModel, reads: str, writes: str | None = None, d_sae: int = 20, seed: int = 0, **more) -> Spliced:
    """A random relu autoencoder, or transcoder, of which about half of the latents fire."""
    rng, config = np.random.default_rng(seed), model.config
    d_in, d_out = (sites.site_width(s, n_embd=config.n_embd, n_inner=config.inner) for s in (reads, writes or reads))
    tensors = (rng.normal(size=(d_in, d_sae)), rng.normal(size=d_sae), rng.normal(size=(d_sae, d_out)), rng.normal(size=d_out))
    sae = InferenceSAE(*(jnp.float32(t / 4) for t in tensors), apply_b_dec_to_input=writes is None, **more)
    return Spliced(reads, writes or reads, sae)
