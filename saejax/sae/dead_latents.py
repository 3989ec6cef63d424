"""Losses that give dead latents a gradient: AuxK and ghost gradients. Resampling, which is no loss, is
`training/resample.py`."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from saejax.sae.base import TINY, LossContext, Params, sum_of_squares, total_variance
from saejax.sae.frame import Frame
from saejax.sae.selection import keep_top_k

_LARGEST = 20.0  # of a pre-activation whose exponential a ghost uses: far above any dead latent's


class AuxK(NamedTuple):
    """How AuxK is written: dead latents alone, the k_aux largest of them, reconstruct the error e = y − ŷ, held constant.

    Source: Gao et al. 2024, "Scaling and evaluating sparse autoencoders", section A.2.

    Attributes:
      relu: ReLU on the dead latents' values; else the largest may be negative.
      over: the error's squares are divided by the total variance of the "residual" or of the "target", or by the "rows".
      scaled: multiplied by min(n_dead / k_aux, 1).
      trains_b_dec: b_dec stands, live, on the auxiliary reconstruction's side and, held, on the error's.
    """

    relu: bool
    over: str
    scaled: bool
    trains_b_dec: bool


def auxk_loss(
    form: AuxK,
    frame: Frame,
    params: Params,
    pre_BxF: jax.Array,
    y_BxE: jax.Array,
    error_BxE: jax.Array,
    dead_F: jax.Array,
    k_aux: int,
) -> jax.Array:
    """AuxK, a scalar; 0 where no latent is dead.

    Args:
      form: how it is written.
      frame: for its products.
      params: with the W_dec that the latents are decoded by, and b_dec.
      pre_BxF: pre-activations, in those latents' units.
      y_BxE: what is reconstructed.
      error_BxE: y − ŷ, without gradient.
      dead_F: bool.
      k_aux: dead latents that are decoded, at most.
    """
    n_dead = dead_F.sum()
    k_dead = jnp.minimum(k_aux, n_dead)
    if form.relu:
        aux_BxF = keep_top_k(jnp.where(dead_F, pre_BxF, 0.0), k_dead)
    else:  # choose on values shifted to be positive, the order kept
        lowest_Bx1 = jax.lax.stop_gradient(pre_BxF.min(-1, keepdims=True))
        shifted_BxF = jnp.where(dead_F, jax.lax.stop_gradient(pre_BxF) - lowest_Bx1 + 1.0, 0.0)
        aux_BxF = jnp.where(keep_top_k(shifted_BxF, k_dead) > 0, pre_BxF, 0.0)
    difference_BxE = frame.product(aux_BxF, params["W_dec"]) - error_BxE
    if form.trains_b_dec:
        difference_BxE += params["b_dec"] - jax.lax.stop_gradient(params["b_dec"])
    divisor = {
        "rows": lambda: y_BxE.shape[0],
        "target": lambda: jnp.maximum(total_variance(y_BxE), TINY),
        "residual": lambda: jnp.maximum(total_variance(error_BxE), TINY),
    }[form.over]()
    scale = jnp.minimum(n_dead / k_aux, 1.0) if form.scaled else (n_dead > 0).astype(y_BxE.dtype)
    return scale * jnp.sum(jnp.square(difference_BxE)) / divisor


def ghost_loss(
    frame: Frame,
    params: Params,
    pre_BxF: jax.Array,
    y_BxE: jax.Array,
    y_hat_BxE: jax.Array,
    reconstruction: jax.Array,
    context: LossContext,
) -> jax.Array:
    """Ghost gradients: dead latents, through exp, predict the error; scaled to half its norm, and to the reconstruction loss.

    Source: Jermyn & Templeton 2024, "Ghost Grads: An improvement on resampling", Circuits Updates – January 2024.

    Args:
      frame: for its products.
      params: with W_dec.
      pre_BxF: pre-activations.
      y_BxE, y_hat_BxE: target and reconstruction.
      reconstruction: the reconstruction loss, a scalar, whose size the ghost loss is given.
      context: of the loss.
    """

    def ghost() -> jax.Array:
        error_BxE = jax.lax.stop_gradient(y_BxE - y_hat_BxE)
        f_BxF = jnp.where(context.dead_F, jnp.exp(jnp.where(context.dead_F, jnp.minimum(pre_BxF, _LARGEST), 0.0)), 0.0)
        ghost_BxE = frame.product(f_BxF, params["W_dec"])
        norm_Bx1 = jnp.linalg.norm(jax.lax.stop_gradient(ghost_BxE), axis=-1, keepdims=True)
        half_Bx1 = jnp.linalg.norm(error_BxE, axis=-1, keepdims=True) / (2.0 * norm_Bx1 + 1e-6)
        mse = sum_of_squares(half_Bx1 * ghost_BxE - error_BxE)
        rescaled = mse * jax.lax.stop_gradient(reconstruction / (mse + 1e-6))
        return jnp.where(context.dead_F.any(), rescaled, 0.0)

    return jax.lax.cond(context.any_dead, ghost, lambda: jnp.zeros_like(reconstruction))
