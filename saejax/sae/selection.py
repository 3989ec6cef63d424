"""Keeping the k largest entries of each row, of all rows together, or each group's largest, with k a traced number."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from saejax.sae.platform import platform


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def keep_top_k(x_BxF: jax.Array, k: jax.Array, k_max: int = 0) -> jax.Array:
    """Each row's k largest positive entries; 0 elsewhere, with a gradient of 0 there.

    Entries equal to the k-th largest are all kept; there are others only where float32 values coincide.

    Args:
      x_BxF: float rows; entries that are not positive are never kept.
      k: int scalar, may be traced and may differ between members of a `vmap`; 0 keeps nothing.
      k_max: a static bound of k, where there is one: a TPU then chooses approximately.

    Returns:
      float [B, F], at most k entries a row that are not 0 (but for coinciding values).
    """

    def keep(values_BxF: jax.Array, k: jax.Array) -> jax.Array:
        float32_BxF = values_BxF.astype(jnp.float32)
        return jnp.where(float32_BxF >= platform().kth_largest(float32_BxF, k, k_max)[:, None], values_BxF, 0.0)

    return _as_one_array(keep, jnp.maximum(x_BxF, 0.0), k)


@jax.custom_vjp
def keep_top_of_all(x_BxF: jax.Array, n: jax.Array) -> jax.Array:
    """The n largest positive entries of all rows together; 0 elsewhere, with a gradient of 0 there.

    Args:
      x_BxF: float rows.
      n: int32 scalar, may be traced and may differ between members of a `vmap`; 0 keeps nothing.

    Returns:
      float [B, F], at most n entries that are not 0 (but for coinciding values).
    """

    def keep(values_BxF: jax.Array, n: jax.Array) -> jax.Array:
        float32_BxF = values_BxF.astype(jnp.float32)
        return jnp.where(float32_BxF >= platform().kth_largest_of_all(float32_BxF, n), values_BxF, 0.0)

    return _as_one_array(keep, jnp.maximum(x_BxF, 0.0), n)


@jax.custom_vjp
def keep_group_max(x_BxF: jax.Array, k: jax.Array) -> jax.Array:
    """The largest positive entry of each of k runs of F / k neighbouring entries; 0 elsewhere, with a gradient of 0 there.

    Args:
      x_BxF: float rows; entries that are not positive are never kept.
      k: int scalar that divides F; may be traced and may differ between members of a `vmap`.

    Returns:
      float [B, F], at most k entries a row that are not 0 (but for coinciding values).
    """
    F = x_BxF.shape[1]

    def keep(values_FxB: jax.Array, k: jax.Array) -> jax.Array:
        group_F = jnp.arange(F) // (F // k)
        largest_FxB = jax.ops.segment_max(values_FxB, group_F, num_segments=F, indices_are_sorted=True)[group_F]
        return jnp.where(values_FxB == largest_FxB, values_FxB, 0.0)

    return _as_one_array(keep, jnp.maximum(x_BxF, 0.0).T, k).T


def _backward(kept_BxF: jax.Array, grad_BxF: jax.Array):
    return jnp.where(kept_BxF > 0, grad_BxF, 0.0), None


def _forward(keep):
    def forward(*arguments):
        kept_BxF = keep(*arguments)
        return kept_BxF, kept_BxF

    return forward


keep_top_k.defvjp(_forward(keep_top_k), lambda k_max, kept_BxF, grad_BxF: _backward(kept_BxF, grad_BxF))
keep_top_of_all.defvjp(_forward(keep_top_of_all), _backward)
keep_group_max.defvjp(_forward(keep_group_max), _backward)


def _as_one_array(keep: Callable[[jax.Array, jax.Array], jax.Array], values: jax.Array, k: jax.Array) -> jax.Array:
    """keep(values, k), the values being read from one array in memory; 0 where k is 0.

    XLA may make an array again for each of its readers, in another order of sums. What is compared with a threshold that was
    taken from it would then miss the very entry that gave the threshold. The state of a loop of unknown length, here of one
    turn, is made once.
    """
    k = jnp.asarray(k, jnp.int32)
    kept = jax.lax.fori_loop(0, jnp.minimum(k, 1), lambda _, state: keep(state, k), values)
    return jnp.where(k > 0, kept, 0.0)
