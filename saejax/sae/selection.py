"""Keeping the k largest entries of each row, with k a traced number.

`lax.top_k` needs a static k and sorts what nobody asked to be sorted. Here the k-th largest value of a row is found by
bisecting on the bits of float32, which for non-negative numbers are in the numbers' order: 31 counts give it exactly.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

_BITS = 31
_LANES, _MOST_SLICES = 128, 64
_CACHED_FLOATS = 2**18  # a block of rows that stays in a CPU core's cache while its 31 counts are made


def top_k_mask(x_BxF: jax.Array, k: jax.Array) -> jax.Array:
    """Marks each row's k largest positive entries.

    Entries equal to the k-th largest are all kept; there are others only where float32 values coincide. No gradient
    passes through the choice.

    Args:
      x_BxF: float rows; entries that are not positive are never kept.
      k: int scalar, may be traced and may differ between members of a `vmap`; 0 keeps nothing.

    Returns:
      bool [B, F], at most k marks a row (but for coinciding values), fewer where fewer are positive.
    """
    values_BxF = jnp.maximum(jax.lax.stop_gradient(x_BxF), 0.0).astype(jnp.float32)
    k = jnp.asarray(k, jnp.int32)
    threshold_B = _on_cpu(values_BxF, k) if jax.default_backend() == "cpu" else _kth_largest(values_BxF, k)
    return (values_BxF >= threshold_B[:, None]) & (values_BxF > 0) & (k > 0)


def group_max_mask(x_BxF: jax.Array, k: jax.Array) -> jax.Array:
    """Marks the largest positive entry of each of k runs of F / k neighbouring entries.

    Args:
      x_BxF: float rows; entries that are not positive are never kept.
      k: int scalar that divides F; may be traced and may differ between members of a `vmap`.

    Returns:
      bool [B, F], at most k marks a row (but for coinciding values).
    """
    values_FxB = jnp.maximum(jax.lax.stop_gradient(x_BxF), 0.0).T
    F = values_FxB.shape[0]
    group_F = jnp.arange(F) // (F // jnp.asarray(k, jnp.int32))
    largest_FxB = jax.ops.segment_max(values_FxB, group_F, num_segments=F, indices_are_sorted=True)[group_F]
    return ((values_FxB == largest_FxB) & (values_FxB > 0)).T


def _kth_largest(values_BxF: jax.Array, k: jax.Array) -> jax.Array:
    """Each row's k-th largest value; 0 where k exceeds the row's length."""

    def one_bit(i: jax.Array, bits_B: jax.Array) -> jax.Array:
        candidate_B = bits_B | (1 << (_BITS - 1 - i))
        at_least_B = jax.lax.bitcast_convert_type(candidate_B, jnp.float32)[:, None]
        # A candidate that is NaN compares as False everywhere, as it should.
        count_B = _count(values_BxF >= at_least_B)
        return jnp.where(count_B >= k, candidate_B, bits_B)

    bits_B = jax.lax.fori_loop(0, _BITS, one_bit, jnp.zeros(values_BxF.shape[0], jnp.int32))
    return jax.lax.bitcast_convert_type(bits_B, jnp.float32)


def _count(marks_BxF: jax.Array) -> jax.Array:
    """Marks in each row, int32 [B].

    Slices are added to each other first: adding arrays is vectorised by the CPU's compiler, reducing along a row is not.
    """
    F = marks_BxF.shape[-1]
    width = max(_LANES, F // _MOST_SLICES)
    slices = [marks_BxF[:, i : i + width].astype(jnp.int32) for i in range(0, F - width + 1, width)]
    rest = jnp.sum(marks_BxF[:, len(slices) * width :], axis=-1, dtype=jnp.int32)
    return jnp.sum(sum(slices), axis=-1) + rest if slices else rest


@jax.custom_batching.sequential_vmap
def _on_cpu(values_BxF: jax.Array, k: jax.Array) -> jax.Array:
    """`_kth_largest` by blocks of rows and by members, so that each block is read from cache, not from memory 31 times."""
    B, F = values_BxF.shape
    block = max(1, _CACHED_FLOATS // F)
    if B <= block or B % block:
        return _kth_largest(values_BxF, k)
    blocks = values_BxF.reshape(B // block, block, F)
    return jax.lax.map(lambda block_BxF: _kth_largest(block_BxF, k), blocks).reshape(B)
