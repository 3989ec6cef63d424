"""The end-to-end loss: its share of the gradient, and that the damage's own size does not matter."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saejax.sae.base import LossContext
from saejax.sae.frame import Frame
from saejax.sae.registry import ARCHITECTURES
from saejax.training.end_to_end import end_to_end

D, F, B = 8, 24, 32


class Rows(NamedTuple):
    y_NxE: jax.Array


@pytest.fixture
def setting():
    row = ARCHITECTURES["topk"]
    sae, x = row.make(Frame(D, F)), jax.random.normal(jax.random.key(0), (B, D))
    hparams = {"k": jnp.int32(4), "auxk_coefficient": jnp.float32(0.0)}
    context = LossContext(jnp.zeros(F, bool), jnp.bool_(False), jnp.int32(0), 10)
    return sae, sae.init(jax.random.key(1), jnp.zeros(D)), hparams, x, context


def damage(y_hat, text, size=1.0):
    return size * jnp.mean(jnp.abs(y_hat[:, :2] - text.y_NxE[:, :2]))


def gradient(setting, weight, size=1.0):
    sae, params, hparams, x, context = setting
    changed = end_to_end(sae, lambda y_hat, text: damage(y_hat, text, size), weight)
    return jax.grad(lambda p: changed.loss(p, hparams, x, Rows(x), context)[0])(params)


def test_the_ends_are_the_own_loss_and_the_damage(setting, close):
    sae, params, hparams, x, context = setting
    own, to_own = jax.value_and_grad(lambda p: sae.loss(p, hparams, x, x, context)[0])(params)
    harm, to_harm = jax.value_and_grad(lambda p: damage(sae.decode(p, sae.encode(p, hparams, x), x), Rows(x)))(params)
    for name in params:
        close(gradient(setting, 0.0)[name], to_own[name], 1e-5, name)
        close(gradient(setting, 1.0)[name], to_harm[name] * own / harm, 1e-5, name)
        close(gradient(setting, 0.5)[name], 0.5 * to_own[name] + 0.5 * to_harm[name] * own / harm, 1e-5, name)


def test_the_damages_units_do_not_matter(setting):
    one, thousand = gradient(setting, 0.5), gradient(setting, 0.5, 1000.0)
    for name in one:
        np.testing.assert_allclose(one[name], thousand[name], rtol=1e-4, atol=1e-7)


def test_both_terms_are_logged(setting):
    sae, params, hparams, x, context = setting
    loss, aux = end_to_end(sae, damage, 0.25).loss(params, hparams, x, Rows(x), context)
    own = sae.loss(params, hparams, x, x, context)[0]
    np.testing.assert_allclose([aux.metrics["own_loss"], loss], own, rtol=1e-6)
    assert aux.metrics["damage"] > 0
