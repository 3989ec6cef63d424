"""Keeping the k largest entries of each row, or each group's largest, with k a traced number.

`lax.top_k` needs a static k and sorts what nobody asked to be sorted. Here the k-th largest value of a row is found by
bisecting on the bits of float32, which for non-negative numbers are in the numbers' order: 31 counts give it exactly.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

_BITS = 31
_LANES, _MOST_SLICES = 128, 64
_CACHED_FLOATS = 2**18  # a block of rows that stays in a CPU core's cache while its 31 counts are made


@jax.custom_vjp
def keep_top_k(x_BxF: jax.Array, k: jax.Array) -> jax.Array:
    """Each row's k largest positive entries; 0 elsewhere, with a gradient of 0 there.

    Entries equal to the k-th largest are all kept; there are others only where float32 values coincide.

    Args:
      x_BxF: float rows; entries that are not positive are never kept.
      k: int scalar, may be traced and may differ between members of a `vmap`; 0 keeps nothing.

    Returns:
      float32 [B, F], at most k entries a row that are not 0 (but for coinciding values).
    """
    values_BxF, k = jnp.maximum(x_BxF, 0.0).astype(jnp.float32), jnp.asarray(k, jnp.int32)
    return _top_k_on_cpu(values_BxF, k) if jax.default_backend() == "cpu" else _top_k(values_BxF, k)


@jax.custom_vjp
def keep_group_max(x_BxF: jax.Array, k: jax.Array) -> jax.Array:
    """The largest positive entry of each of k runs of F / k neighbouring entries; 0 elsewhere, with a gradient of 0 there.

    Args:
      x_BxF: float rows; entries that are not positive are never kept.
      k: int scalar that divides F; may be traced and may differ between members of a `vmap`.

    Returns:
      float32 [B, F], at most k entries a row that are not 0 (but for coinciding values).
    """
    F = x_BxF.shape[1]
    group_F = jnp.arange(F) // (F // jnp.asarray(k, jnp.int32))

    def keep(values_FxB: jax.Array) -> jax.Array:
        largest_FxB = jax.ops.segment_max(values_FxB, group_F, num_segments=F, indices_are_sorted=True)[group_F]
        return jnp.where(values_FxB == largest_FxB, values_FxB, 0.0)

    return _as_one_array(keep, jnp.maximum(x_BxF, 0.0).T, k).T


def _forward(keep):
    def forward(x_BxF: jax.Array, k: jax.Array):
        kept_BxF = keep(x_BxF, k)
        return kept_BxF, kept_BxF

    return forward


def _backward(kept_BxF: jax.Array, grad_BxF: jax.Array):
    return jnp.where(kept_BxF > 0, grad_BxF, 0.0), None


keep_top_k.defvjp(_forward(keep_top_k), _backward)
keep_group_max.defvjp(_forward(keep_group_max), _backward)


def _as_one_array(keep: Callable[[jax.Array], jax.Array], values: jax.Array, k: jax.Array) -> jax.Array:
    """keep(values), the values being read from one array in memory; 0 where k is 0.

    XLA may make an array again for each of its readers, in another order of sums. What is compared with a threshold that was
    taken from it would then miss the very entry that gave the threshold. The state of a loop of unknown length, here of one
    turn, is made once.
    """
    kept = jax.lax.fori_loop(0, jnp.minimum(k, 1), lambda _, state: keep(state), values)
    return jnp.where(k > 0, kept, 0.0)


def _top_k(values_BxF: jax.Array, k: jax.Array) -> jax.Array:
    """`keep_top_k` of float32 values that are not negative."""

    def keep(values_BxF: jax.Array) -> jax.Array:
        return jnp.where(values_BxF >= _kth_largest(values_BxF, k)[:, None], values_BxF, 0.0)

    return _as_one_array(keep, values_BxF, k)


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
def _top_k_on_cpu(values_BxF: jax.Array, k: jax.Array) -> jax.Array:
    """`_top_k` by blocks of rows and by members, so that each block is read from cache, not from memory 31 times."""
    B, F = values_BxF.shape
    block = max(1, _CACHED_FLOATS // F)
    if B <= block or B % block:
        return _top_k(values_BxF, k)
    blocks = values_BxF.reshape(B // block, block, F)
    return jax.lax.map(lambda block_BxF: _top_k(block_BxF, k), blocks).reshape(B, F)
