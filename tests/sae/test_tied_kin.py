"""`thresholding` and the plain `tied` dictionary against NumPy written from their definitions: no peer's numbers are at hand.

sparse_coding's `FunctionalThresholdingSAE` does not run as shipped (its loss reads a centring that its `init` never makes).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from saejax.sae.frame import Frame
from saejax.sae.thresholding import thresholding
from saejax.sae.tied import tied
from tests.sae.contract import D, F, context, rows


def float64(tree):
    return {name: np.asarray(value, np.float64) for name, value in tree.items()}


def test_thresholding(close):
    sae, x = thresholding(Frame(D, F)), 2.0 * rows()[0]
    params = {
        "W_dec": jax.random.normal(jax.random.key(0), (F, D)),
        "b_enc": 0.3 * jax.random.normal(jax.random.key(1), (F,)),
        "scale": jnp.linspace(0.5, 1.5, F),
    }
    total, aux = sae.loss(params, {"l1_coefficient": jnp.float32(0.2)}, x, x, context())
    p = float64(params)
    D_FxD = p["W_dec"] / np.linalg.norm(p["W_dec"], axis=1, keepdims=True)
    a = p["scale"] ** 2
    z = (np.asarray(x, np.float64) @ D_FxD.T + p["b_enc"]) / a
    f = a * (np.clip(60 * (z - 0.9), 0, 6) / 6 + np.maximum(z - 1, 0))
    close(sae.encode(params, {}, x), f, 1e-5, "latents")
    assert ((z > 0.9) & (z < 1)).any() and (f > 0).mean() < 0.5
    close(total, np.mean((f @ D_FxD - np.asarray(x)) ** 2) + 0.2 * f.sum(1).mean(), 1e-5, "loss")
    close(sae.export(params, {}).reconstruct(x)[1], f @ D_FxD, 1e-5, "exported reconstruction")


def test_the_plain_tied_dictionary(close):
    """h = ReLU(W x + b), x̂ = Wᵀ h + b_dec."""
    sae, x = tied(Frame(D, F), tied_normalise=False, tied_decoder_bias=True), rows()[0]
    params = {
        "W_dec": jax.random.normal(jax.random.key(0), (F, D)),
        "b_enc": 0.3 * jax.random.normal(jax.random.key(1), (F,)),
        "b_dec": 0.5 * jax.random.normal(jax.random.key(2), (D,)),
    }
    hparams = {"l1_coefficient": jnp.float32(0.2), "bias_decay": jnp.float32(0.1)}
    total, _ = sae.loss(params, hparams, x, x, context())
    p = float64(params)
    h = np.maximum(np.asarray(x, np.float64) @ p["W_dec"].T + p["b_enc"], 0)
    x_hat = h @ p["W_dec"] + p["b_dec"]
    expected = np.mean((x_hat - np.asarray(x)) ** 2) + 0.2 * h.sum(1).mean() + 0.1 * np.linalg.norm(p["b_enc"])
    close(total, expected, 1e-5, "loss")
    close(sae.export(params, hparams).reconstruct(x)[1], x_hat, 1e-5, "exported reconstruction")
