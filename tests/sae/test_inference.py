"""The common form of trained autoencoders: folding changes the units, not the function."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saejax.sae.inference import InferenceSAE


def random_sae(activation, centred, key=0):
    keys = jax.random.split(jax.random.key(key), 4)
    return InferenceSAE(
        jax.random.normal(keys[0], (6, 20)),
        jax.random.normal(keys[1], (20,)),
        jax.random.normal(keys[2], (20, 6)),
        jax.random.normal(keys[3], (6,)),
        k=jnp.int32(4),
        activation=activation,
        apply_b_dec_to_input=centred,
    )


def oracle(sae, x):
    W_enc, b_enc, W_dec, b_dec = (np.asarray(a, np.float64) for a in (sae.W_enc, sae.b_enc, sae.W_dec, sae.b_dec))
    f = np.maximum((x - (b_dec if sae.apply_b_dec_to_input else 0)) @ W_enc + b_enc, 0)
    if sae.activation == "topk":
        f = np.where(f >= np.sort(f, axis=1)[:, -4, None], f, 0)
    return f, f @ W_dec + b_dec


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("activation", ["relu", "topk"])
def test_encode_and_decode_are_the_formula(activation, centred, close):
    x = np.random.default_rng(0).normal(size=(30, 6))
    sae = random_sae(activation, centred)
    f, x_hat = oracle(sae, x)
    close(sae.encode(jnp.float32(x)), f, 1e-6, "latents")
    close(sae.decode(sae.encode(jnp.float32(x))), x_hat, 1e-6, "reconstruction")


def test_a_unit_decoder_keeps_the_reconstruction(close):
    x = jnp.float32(np.random.default_rng(1).normal(size=(30, 6)))
    sae = random_sae("relu", True)
    unit = sae.with_unit_decoder()
    np.testing.assert_allclose(np.linalg.norm(unit.W_dec, axis=1), 1.0, rtol=1e-6)
    close(unit.decode(unit.encode(x)), sae.decode(sae.encode(x)), 1e-6, "reconstruction")
    close(unit.encode(x), sae.encode(x) * np.linalg.norm(sae.W_dec, axis=1), 1e-6, "latents")


@pytest.mark.parametrize("activation", ["relu", "topk"])
def test_raw_input_gives_raw_output(activation, close):
    x = jnp.float32(np.random.default_rng(2).normal(size=(30, 6)))
    sae = random_sae(activation, True)
    raw = sae.for_raw_input(3.0)
    close(raw.decode(raw.encode(x)), sae.decode(sae.encode(3.0 * x)) / 3.0, 1e-6, "reconstruction")
