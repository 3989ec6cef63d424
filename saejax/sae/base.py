"""The types every architecture is made of, and the mathematics that several share.

Letters of shapes: B batch (rows), D width of the site (d_in), F latents (d_sae).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from saejax.sae.inference import InferenceSAE

Params = dict[str, jax.Array]
HParams = dict[str, jax.Array]

TINY = 1e-8


class LossContext(NamedTuple):
    """What a loss may need besides parameters and data.

    Attributes:
      dead_F: bool, the latents that count as dead before this batch.
      any_dead: bool scalar, whether any member of the ensemble has a dead latent; the same for all members, so that
        work on dead latents can be skipped under `vmap`.
      sparsity_scale: float scalar in [0, 1], the warm-up of the sparsity loss.
    """

    dead_F: jax.Array
    any_dead: jax.Array
    sparsity_scale: jax.Array


class LossAux(NamedTuple):
    """What a loss gives besides its value.

    Attributes:
      fired_F: bool, the latents active on any row of the batch.
      metrics: float scalars by name, the terms of the loss among them.
    """

    fired_F: jax.Array
    metrics: dict[str, jax.Array]


class SparseAutoencoder(NamedTuple):
    """An architecture with its static options, as a tuple of pure functions (as optax's GradientTransformation is).

    Attributes:
      init: (key, b_dec_D) -> params; `b_dec_D` is where the decoder's bias starts, where there is one.
      encode: (params, hparams, x_BxD) -> f_BxF.
      decode: (params, f_BxF) -> x_hat_BxD.
      loss: (params, hparams, x_BxD, context) -> (loss, LossAux).
      project_gradients: (params, grads) -> grads, before the optimizer.
      after_update: params -> params, after the optimizer (a constraint, such as unit norms).
      export: (params, hparams) -> InferenceSAE, the common form in which the trained autoencoder is kept.
    """

    init: Callable[[jax.Array, jax.Array], Params]
    encode: Callable[[Params, HParams, jax.Array], jax.Array]
    decode: Callable[[Params, jax.Array], jax.Array]
    loss: Callable[[Params, HParams, jax.Array, LossContext], tuple[jax.Array, LossAux]]
    project_gradients: Callable[[Params, Params], Params]
    after_update: Callable[[Params], Params]
    export: Callable[[Params, HParams], InferenceSAE]


def unit_rows(W_FxD: jax.Array) -> jax.Array:
    """Each row divided by its norm, the norm clamped to 1e-8 from below."""
    return W_FxD / jnp.maximum(jnp.linalg.norm(W_FxD, axis=-1, keepdims=True), TINY)


def random_unit_rows(key: jax.Array, n_rows: int, width: int) -> jax.Array:
    """float32 rows drawn uniformly from the unit sphere."""
    return unit_rows(jax.random.normal(key, (n_rows, width)))


def without_parallel_part(grad_FxD: jax.Array, W_FxD: jax.Array) -> jax.Array:
    """A gradient less its component along each row, so that a step keeps the rows' norms to first order.

    Source: Bricken et al. 2023, "Towards Monosemanticity", Autoencoder training.
    """
    unit_FxD = unit_rows(W_FxD)
    return grad_FxD - jnp.sum(grad_FxD * unit_FxD, axis=-1, keepdims=True) * unit_FxD


def total_variance(x_BxD: jax.Array) -> jax.Array:
    """Σ over rows and dimensions of (x − batch mean)², a scalar."""
    return jnp.sum(jnp.square(x_BxD - x_BxD.mean(0)))


def summary(x_BxD: jax.Array, x_hat_BxD: jax.Array, f_BxF: jax.Array, **terms: jax.Array) -> LossAux:
    """The metrics every architecture logs, with its own loss terms: mse (summed over D), fvu of the batch, l0."""
    error = jnp.sum(jnp.square(x_BxD - x_hat_BxD))
    count_F = jnp.sum(f_BxF != 0, axis=0, dtype=jnp.int32)
    metrics = {
        "mse": error / x_BxD.shape[0],
        "fvu": error / total_variance(x_BxD),
        "l0": jnp.sum(count_F) / x_BxD.shape[0],
        **terms,
    }
    return LossAux(count_F > 0, jax.lax.stop_gradient(metrics))
