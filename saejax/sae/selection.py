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
def keep_top_of_all(x_BxF: jax.Array, n: jax.Array) -> jax.Array:
    """The n largest positive entries of all rows together; 0 elsewhere, with a gradient of 0 there.

    Args:
      x_BxF: float rows.
      n: int32 scalar, may be traced and may differ between members of a `vmap`; 0 keeps nothing.

    Returns:
      float32 [B, F], at most n entries that are not 0 (but for coinciding values).
    """

    def keep(values_BxF: jax.Array) -> jax.Array:
        return jnp.where(values_BxF >= _kth_largest_of_all(values_BxF, n), values_BxF, 0.0)

    return _as_one_array(keep, jnp.maximum(x_BxF, 0.0).astype(jnp.float32), n)


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
keep_top_of_all.defvjp(_forward(keep_top_of_all), _backward)
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
        at_least_Bx1 = jax.lax.bitcast_convert_type(candidate_B, jnp.float32)[:, None]
        # A candidate that is NaN compares as False everywhere, as it should.
        count_B = _count(values_BxF, at_least_Bx1)
        return jnp.where(count_B >= k, candidate_B, bits_B)

    bits_B = jax.lax.fori_loop(0, _BITS, one_bit, jnp.zeros(values_BxF.shape[0], jnp.int32))
    return jax.lax.bitcast_convert_type(bits_B, jnp.float32)


def _count(values_BxF: jax.Array, at_least_Bx1: jax.Array) -> jax.Array:
    """Entries of each row that are at least so large, int32 [B].

    Slices are compared and added to each other first: that is one loop over arrays, which the CPU's compiler vectorises;
    reducing along a row is not.
    """
    F = values_BxF.shape[-1]
    width = max(_LANES, F // _MOST_SLICES)
    starts = range(0, F - width + 1, width)
    slices = [(values_BxF[:, i : i + width] >= at_least_Bx1).astype(jnp.int32) for i in starts]
    rest = jnp.sum(values_BxF[:, len(slices) * width :] >= at_least_Bx1, axis=-1, dtype=jnp.int32)
    return jnp.sum(sum(slices), axis=-1) + rest if slices else rest


@jax.custom_batching.sequential_vmap
def _top_k_on_cpu(values_BxF: jax.Array, k: jax.Array) -> jax.Array:
    """`_top_k` by blocks of rows and by members, so that each block is read from cache, not from memory 31 times."""
    return jax.lax.map(lambda block_bxF: _top_k(block_bxF, k), _blocks(values_BxF)).reshape(values_BxF.shape)


def _blocks(values_BxF: jax.Array) -> jax.Array:
    """The rows as [B / b, b, F], b rows to a block that stays in cache."""
    B, F = values_BxF.shape
    most = max(1, min(B, _CACHED_FLOATS // F))
    return values_BxF.reshape(-1, next(b for b in range(most, 0, -1) if B % b == 0), F)


@jax.custom_batching.sequential_vmap
def _kth_largest_of_all(values_BxF: jax.Array, n: jax.Array) -> jax.Array:
    """The n-th largest of all values, a scalar; each pass over the blocks finds two bits, since memory is what it waits for."""
    blocks = _blocks(values_BxF)

    def at_least(candidate: jax.Array) -> jax.Array:
        threshold = jax.lax.bitcast_convert_type(candidate, jnp.float32)
        return lambda block_bxF: jnp.sum(_count(block_bxF, jnp.broadcast_to(threshold, (block_bxF.shape[0], 1))))

    def one_pass(bits: jax.Array, candidates: list[int], shift: jax.Array) -> jax.Array:
        counts = [at_least(bits | (jnp.int32(c) << shift)) for c in candidates]
        totals = jax.lax.map(lambda block_bxF: jnp.stack([count(block_bxF) for count in counts]), blocks).sum(0)
        return bits | (jnp.sum(totals >= n) << shift)

    bits = one_pass(jnp.int32(0), [1], jnp.int32(_BITS - 1))
    bits = jax.lax.fori_loop(0, _BITS // 2, lambda i, bits: one_pass(bits, [1, 2, 3], _BITS - 3 - 2 * i), bits)
    return jax.lax.bitcast_convert_type(bits, jnp.float32)
