"""Training that starts from a file: the same function for every architecture, and refusals."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from saejax.errors import InputError
from saejax.interop.adopt import adopt
from saejax.sae.frame import Frame
from saejax.sae.relu import relu
from saejax.sae.tied import tied
from saejax.sae.topk import topk
from tests.sae.contract import SUBJECTS, D, F, name_of, rows

SCALE = 1.7


@pytest.mark.parametrize("subject", SUBJECTS, ids=name_of)
def test_what_was_exported_is_taken_up_again(subject, close):
    """Other initial parameters, the exported ones adopted, exported again: the same reconstructions."""
    sae, hparams, x = subject.make(), subject.traced(), rows()[0]
    params = sae.init(jax.random.key(1), jnp.full(subject.width_out, 0.2))
    params = {**params, **({"b_enc": 0.1 * jnp.ones(F)} if "b_enc" in params else {})}
    if "scale" in params:
        params["scale"] = jnp.linspace(0.5, 1.5, F)
    if "threshold" in params:
        params["threshold"] = jnp.full_like(params["threshold"], 0.4)
    raw = sae.export(params, hparams).for_raw_input(SCALE)
    other = sae.init(jax.random.key(2), jnp.zeros(subject.width_out))
    adopted = adopt(sae, other, hparams, raw.for_raw_input(1 / SCALE), "there")
    again = sae.export(adopted, hparams).for_raw_input(SCALE)
    close(again.reconstruct(x)[1], raw.reconstruct(x)[1], 1e-5, "reconstruction")
    assert adopted.keys() == params.keys()


def test_another_form_of_the_input_bias_changes_nothing(close):
    frame, x = Frame(D, F), rows()[0]
    hparams = {"l1_coefficient": jnp.float32(1), "bias_decay": jnp.float32(0)}
    source = relu(frame, relu_form="april2024")
    params = {**source.init(jax.random.key(0), jnp.full(D, 0.3)), "b_enc": 0.1 * jnp.ones(F)}
    start = source.export(params, hparams)
    other = relu(frame._replace(apply_b_dec_to_input=False), relu_form="april2024")
    adopted = adopt(other, other.init(jax.random.key(1), jnp.zeros(D)), hparams, start, "there")
    close(other.export(adopted, hparams).reconstruct(x)[1], start.reconstruct(x)[1], 1e-5, "reconstruction")


def test_refusals_say_what_does_not_fit():
    frame, hparams = Frame(D, F), {"l1_coefficient": jnp.float32(1), "bias_decay": jnp.float32(0)}
    source = relu(frame)
    start = source.export(source.init(jax.random.key(0), jnp.full(D, 0.3)), hparams)
    wide = relu(Frame(D, 2 * F))
    with pytest.raises(InputError, match=f"W_enc is .* \\[{D}, {F}\\]; the sweep's is \\[{D}, {2 * F}\\]"):
        adopt(wide, wide.init(jax.random.key(0), jnp.zeros(D)), hparams, start, "there")
    one = tied(frame)
    with pytest.raises(InputError, match="transpose"):
        adopt(one, one.init(jax.random.key(0), jnp.zeros(D)), hparams, start.replace(W_enc=2 * start.W_enc), "there")
    with pytest.raises(InputError, match="decoder bias"):
        adopt(one, one.init(jax.random.key(0), jnp.zeros(D)), hparams, start.replace(W_enc=start.W_dec.T), "there")
    with pytest.raises(InputError, match="activation is jumprelu, the sweep's is relu"):
        jump = start.replace(activation="jumprelu", threshold=jnp.ones(F))
        adopt(source, source.init(jax.random.key(0), jnp.zeros(D)), hparams, jump, "there")
    chosen, k = topk(frame), {"k": jnp.int32(3), "auxk_coefficient": jnp.float32(0)}
    with pytest.raises(InputError, match="unit norm"):
        rescaled = start.replace(activation="topk", k=jnp.int32(3), W_dec=0.3 * start.W_dec)
        adopt(chosen, chosen.init(jax.random.key(0), jnp.zeros(D)), k, rescaled, "there")
    with pytest.raises(InputError, match="--skip"):
        adopt(source, source.init(jax.random.key(0), jnp.zeros(D)), hparams, start.replace(W_skip=jnp.eye(D)), "there")
