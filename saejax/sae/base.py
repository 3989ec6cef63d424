"""The types every architecture is made of, and the mathematics that several share.

Letters of shapes: B batch (rows), D width of the site read (d_in), E width of the site predicted (D for an autoencoder), F
latents (d_sae).
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
      step: int32 scalar, updates done before this one.
      n_steps: updates in all.
    """

    dead_F: jax.Array
    any_dead: jax.Array
    step: jax.Array
    n_steps: int


class LossAux(NamedTuple):
    """What a loss gives besides its value.

    Attributes:
      fired_F: bool, the latents active on any row of the batch.
      metrics: float scalars by name, the terms of the loss among them.
      observed: what `after_update` needs of this batch, by name.
    """

    fired_F: jax.Array
    metrics: dict[str, jax.Array]
    observed: dict[str, jax.Array]


def _same_gradients(params: Params, grads: Params) -> Params:
    return grads


def _same_params(params: Params, before: Params, observed: dict[str, jax.Array], context: LossContext) -> Params:
    return params


class SparseAutoencoder(NamedTuple):
    """An architecture with its static options, as a tuple of pure functions (as optax's GradientTransformation is).

    Attributes:
      init: (key, b_dec_E) -> params; `b_dec_E` is where the decoder's bias starts, where there is one.
      encode: (params, hparams, x_BxD) -> f_BxF, as in training.
      decode: (params, f_BxF, x_BxD) -> y_hat_BxE; the input is for a skip path.
      loss: (params, hparams, x_BxD, y_BxE, context) -> (loss, LossAux); y is x for an autoencoder.
      export: (params, hparams) -> InferenceSAE, the common form in which what was trained is kept.
      project_gradients: (params, grads) -> grads, before the optimizer.
      after_update: (params, before, observed, context) -> params, after the optimizer: a constraint, such as unit norms, and
        what is remembered, from the parameters `before` the update and the batch's `LossAux.observed`.
      remembered: names of parameters that `after_update` alone changes; the optimizer does not see them.
    """

    init: Callable[[jax.Array, jax.Array], Params]
    encode: Callable[[Params, HParams, jax.Array], jax.Array]
    decode: Callable[[Params, jax.Array, jax.Array], jax.Array]
    loss: Callable[[Params, HParams, jax.Array, jax.Array, LossContext], tuple[jax.Array, LossAux]]
    export: Callable[[Params, HParams], InferenceSAE]
    project_gradients: Callable[[Params, Params], Params] = _same_gradients
    after_update: Callable[[Params, Params, dict[str, jax.Array], LossContext], Params] = _same_params
    remembered: tuple[str, ...] = ()


@jax.custom_vjp
def unit_rows(W_FxD: jax.Array) -> jax.Array:
    """Each row divided by its norm, the norm clamped to 1e-8 from below."""
    return _unit_rows_forward(W_FxD)[0]


def _unit_rows_forward(W_FxD: jax.Array):
    norm_Fx1 = jnp.maximum(jnp.linalg.norm(W_FxD, axis=-1, keepdims=True), TINY)
    unit_FxD = W_FxD / norm_Fx1
    return unit_FxD, (unit_FxD, norm_Fx1)


def _unit_rows_backward(saved, grad_FxD: jax.Array):
    unit_FxD, norm_Fx1 = saved
    along_Fx1 = jnp.sum(grad_FxD * unit_FxD, axis=-1, keepdims=True)
    return ((grad_FxD - along_Fx1 * unit_FxD) / norm_Fx1,)


unit_rows.defvjp(_unit_rows_forward, _unit_rows_backward)


def directions(W_FxD: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(W, 1 / its rows' norms [F]): what is made of their product has the gradient it has when made of `unit_rows(W)`.

    The norms count as constant, and W's gradient loses its component along each row: the gradient of a function of W that does
    not depend on the norms. So latents can carry the scale, and unit rows need not be made as an array.
    """
    scale_F = 1.0 / jnp.maximum(jnp.linalg.norm(jax.lax.stop_gradient(W_FxD), axis=-1), TINY)
    return _tangential(W_FxD, scale_F), scale_F


@jax.custom_vjp
def _tangential(W_FxD: jax.Array, scale_F: jax.Array) -> jax.Array:
    return W_FxD


def _tangential_backward(saved: tuple[jax.Array, jax.Array], grad_FxD: jax.Array):
    W_FxD, scale_F = saved
    along_F = jnp.sum(grad_FxD * W_FxD, axis=-1) * jnp.square(scale_F)
    return grad_FxD - along_F[:, None] * W_FxD, jnp.zeros_like(scale_F)


_tangential.defvjp(lambda W_FxD, scale_F: (W_FxD, (W_FxD, scale_F)), _tangential_backward)


def random_unit_rows(key: jax.Array, n_rows: int, width: int) -> jax.Array:
    """float32 rows drawn uniformly from the unit sphere."""
    return unit_rows(jax.random.normal(key, (n_rows, width)))


def without_parallel_part(params: Params, grads: Params) -> Params:
    """Gradients, that of W_dec less its component along each row, so that a step keeps the rows' norms to first order.

    Source: Bricken et al. 2023, "Towards Monosemanticity", Autoencoder training.
    """
    unit_FxD, grad_FxD = unit_rows(params["W_dec"]), grads["W_dec"]
    return {**grads, "W_dec": grad_FxD - jnp.sum(grad_FxD * unit_FxD, axis=-1, keepdims=True) * unit_FxD}


def with_unit_rows(params: Params, before: Params, observed: dict[str, jax.Array], context: LossContext) -> Params:
    """Parameters, the rows of W_dec brought back to unit norm: an `after_update`."""
    return {**params, "W_dec": unit_rows(params["W_dec"])}


@jax.custom_vjp
def rectified(pre_BxF: jax.Array) -> jax.Array:
    """max(pre, 0), made once and kept in place of pre: its gradient, 1 where it is positive, needs no other array.

    XLA would make it again for each of its uses, from a pre that is then kept as well.
    """
    return jax.lax.optimization_barrier(jnp.maximum(pre_BxF, 0.0))


def _rectified_forward(pre_BxF: jax.Array):
    f_BxF = rectified(pre_BxF)
    return f_BxF, f_BxF


def _rectified_backward(f_BxF: jax.Array, grad_BxF: jax.Array):
    return (jnp.where(f_BxF > 0, grad_BxF, 0.0),)


rectified.defvjp(_rectified_forward, _rectified_backward)


def sum_of_squares(difference_BxD: jax.Array) -> jax.Array:
    """Σ over dimensions, mean over rows, of the squares: the reconstruction loss of most papers, a scalar."""
    return jnp.sum(jnp.square(difference_BxD)) / difference_BxD.shape[0]


def total_variance(x_BxD: jax.Array) -> jax.Array:
    """Σ over rows and dimensions of (x − batch mean)², a scalar."""
    return jnp.sum(jnp.square(x_BxD - x_BxD.mean(0)))


def firings(f_BxF: jax.Array) -> jax.Array:
    """Rows on which each latent is active, float32 [F].

    Latents are not negative, and none that is not 0 is below 2^-100. So written it is joined with other sums over f; a
    comparison, or a sign, is an array of its own on a CPU.
    """
    return jnp.sum(jnp.minimum(jax.lax.stop_gradient(f_BxF) * 2.0**100, 1.0), axis=0)


def summary(
    y_BxE: jax.Array,
    y_hat_BxE: jax.Array,
    count_F: jax.Array,
    observed: dict[str, jax.Array] | None = None,
    **terms: jax.Array,
) -> LossAux:
    """The metrics every architecture logs, with its own loss terms: mse (summed over E), fvu of the batch, l0.

    Args:
      y_BxE, y_hat_BxE: target and prediction.
      count_F: rows on which each latent is active.
      observed: `LossAux.observed`.
      terms: of the loss.
    """
    error = jnp.sum(jnp.square(y_BxE - y_hat_BxE))
    metrics = {
        "mse": error / y_BxE.shape[0],
        "fvu": error / total_variance(y_BxE),
        "l0": jnp.sum(count_F) / y_BxE.shape[0],
        **terms,
    }
    return LossAux(count_F > 0, *jax.lax.stop_gradient((metrics, observed or {})))
