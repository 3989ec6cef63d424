"""Ghost gradients against NumPy written from their description, and where their gradient goes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saejax.sae.dead_latents import ghost_loss
from saejax.sae.frame import Frame
from saejax.sae.relu import relu
from tests.sae.contract import B, D, F, context, rows

FRAME, DEAD = Frame(D, F), np.arange(F) % 5 == 0
HPARAMS = {"l1_coefficient": jnp.float32(0.1), "bias_decay": jnp.float32(0.0)}


@pytest.fixture
def params():
    params = FRAME.init(jax.random.key(0), jnp.zeros(D), norm=0.7)
    return {**params, "b_enc": jnp.where(DEAD, -3.0, 0.1)}


def test_equals_its_description(params, close):
    x_BxD = rows()[0]
    pre_BxF = FRAME.pre_activations(params, x_BxD)
    x_hat_BxD = FRAME.decode(params, jax.nn.relu(pre_BxF), x_BxD)
    reconstruction = jnp.float32(5.0)
    loss = ghost_loss(FRAME, params, pre_BxF, x_BxD, x_hat_BxD, reconstruction, context(jnp.asarray(DEAD)))
    error = np.asarray(x_BxD - x_hat_BxD, np.float64)
    ghost = np.exp(np.asarray(pre_BxF, np.float64)[:, DEAD]) @ np.asarray(params["W_dec"], np.float64)[DEAD]
    scaled = ghost * np.linalg.norm(error, axis=1, keepdims=True) / (2 * np.linalg.norm(ghost, axis=1, keepdims=True))
    mse = np.square(scaled - error).sum() / B
    close(loss, 5.0 * mse / (mse + 1e-6), 1e-5, "ghost loss")


def gradients(params, dead_F, ghost):
    sae = relu(FRAME, ghost_gradients=ghost)
    return jax.grad(lambda p: sae.loss(p, HPARAMS, rows()[0], rows()[0], context(jnp.asarray(dead_F)))[0])(params)


def test_reaches_dead_latents_and_no_others(params):
    plain, ghost = (gradients(params, DEAD, on) for on in (False, True))
    assert (np.abs(plain["b_enc"])[DEAD] == 0).all() and (np.abs(ghost["b_enc"])[DEAD] > 0).all()
    for name in ("b_enc", "W_dec"):
        np.testing.assert_allclose(ghost[name][~DEAD], plain[name][~DEAD], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(ghost["W_enc"][:, ~DEAD], plain["W_enc"][:, ~DEAD], rtol=1e-5, atol=1e-7)


def test_is_nothing_where_nothing_is_dead(params):
    plain, ghost = (gradients(params, np.zeros(F, bool), on) for on in (False, True))
    for name in plain:
        np.testing.assert_array_equal(ghost[name], plain[name])
