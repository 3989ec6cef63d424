"""Matching pursuit: latents chosen one after the other, each against what those before it left unexplained.

Source: Mallat & Zhang 1993, "Matching pursuits with time-frequency dictionaries"; as an encoder, Costa et al. 2025, "From flat
to hierarchical: extracting sparse representations with matching pursuit".
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp


def matching_pursuit(
    x_BxD: jax.Array,
    W_dec_FxD: jax.Array,
    *,
    k: jax.Array,
    residual_threshold: jax.Array,
    k_max: int,
    product: Callable[[jax.Array, jax.Array], jax.Array] = jnp.matmul,
) -> jax.Array:
    """Encodes rows by matching pursuit; differentiable in rows and dictionary.

    Step i takes the row of the dictionary with the largest product with the residual, r · d (its index is held constant), adds
    ReLU(r · d) to its latent and subtracts as much of it from the residual. A row stops after k steps, once its residual's norm
    is below `residual_threshold`, or when a step has not changed which latents are active (sae-lens's rule).

    Args:
      x_BxD: float32 rows, centred.
      W_dec_FxD: the dictionary; unit rows make each step an orthogonal projection.
      k: int scalar, most steps; may be traced.
      residual_threshold: float scalar in the rows' units; may be traced; 0 for no such stop.
      k_max: the static bound of k.
      product: of matrices, by which each step's latent is chosen (in training perhaps in bfloat16; its value never is).

    Returns:
      float32 [B, F], not negative, at most k of a row not 0.
    """
    B, F = x_BxD.shape[0], W_dec_FxD.shape[0]

    def step(carry: tuple[jax.Array, jax.Array, jax.Array], i: jax.Array):
        f_BxF, residual_BxD, going_B = carry
        chosen_B = jnp.argmax(jax.lax.stop_gradient(product(residual_BxD, W_dec_FxD.T)), axis=-1)
        atom_BxD = W_dec_FxD[chosen_B]
        value_B = jax.nn.relu(jnp.sum(residual_BxD * atom_BxD, axis=-1)) * (going_B & (i < k))
        before_B = f_BxF[jnp.arange(B), chosen_B]
        f_BxF = f_BxF.at[jnp.arange(B), chosen_B].add(value_B)
        residual_BxD = residual_BxD - value_B[:, None] * atom_BxD
        support_grew_B = (before_B == 0) & (value_B > 0)
        squares_B = jnp.sum(jnp.square(jax.lax.stop_gradient(residual_BxD)), axis=-1)
        going_B = going_B & support_grew_B & (squares_B >= jnp.square(residual_threshold))
        return (f_BxF, residual_BxD, going_B), None

    start = (jnp.zeros((B, F), x_BxD.dtype), x_BxD, jnp.ones(B, bool))
    (f_BxF, _, _), _ = jax.lax.scan(step, start, jnp.arange(k_max))
    return f_BxF
