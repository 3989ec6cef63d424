"""The k-th largest value by bisecting on the bits of float32, in plain JAX, in the order that is fast on a CPU.

For numbers that are not negative the order of the bits is the order of the numbers: 31 counts give the value exactly, and k may
be traced, where `lax.top_k` needs a static one and sorts what nobody asked to be sorted.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

_BITS = 31
_LANES, _MOST_SLICES = 128, 64
_CACHED_FLOATS = 2**18  # a block of rows that stays in a CPU core's cache while its 31 counts are made


@jax.custom_batching.sequential_vmap
def kth_largest(values_BxF: jax.Array, k: jax.Array) -> jax.Array:
    """Each row's k-th largest value; 0 where k exceeds the row's length.

    By blocks of rows and by members, so that each block is read from cache, not from memory 31 times.

    Args:
      values_BxF: float32, not negative.
      k: int32 scalar, at least 1.

    Returns:
      float32 [B].
    """
    return jax.lax.map(lambda block_bxF: _bisect(block_bxF, k), _blocks(values_BxF)).reshape(-1)


@jax.custom_batching.sequential_vmap
def kth_largest_of_all(values_BxF: jax.Array, k: jax.Array) -> jax.Array:
    """The k-th largest of all values, a scalar; arguments as in `kth_largest`.

    A pass over the blocks finds two bits, since memory is what it waits for.
    """
    blocks = _blocks(values_BxF)

    def one_pass(bits: jax.Array, digits: list[int], shift: jax.Array) -> jax.Array:
        def counts(block_bxF: jax.Array) -> jax.Array:
            found = [_count(block_bxF, _float(bits | (jnp.int32(digit) << shift))[None, None]) for digit in digits]
            return jnp.stack([count_b.sum() for count_b in found])

        totals = jax.lax.map(counts, blocks).sum(0)
        return bits | (jnp.sum(totals >= k, dtype=jnp.int32) << shift)

    bits = one_pass(jnp.int32(0), [1], jnp.int32(_BITS - 1))
    return _float(jax.lax.fori_loop(0, _BITS // 2, lambda i, bits: one_pass(bits, [1, 2, 3], _BITS - 3 - 2 * i), bits))


def _blocks(values_BxF: jax.Array) -> jax.Array:
    """The rows as [B / b, b, F], b rows to a block that stays in cache."""
    B, F = values_BxF.shape
    most = max(1, min(B, _CACHED_FLOATS // F))
    return values_BxF.reshape(-1, next(b for b in range(most, 0, -1) if B % b == 0), F)


def _bisect(values_BxF: jax.Array, k: jax.Array) -> jax.Array:
    def one_bit(i: jax.Array, bits_B: jax.Array) -> jax.Array:
        candidate_B = bits_B | (1 << (_BITS - 1 - i))
        # A candidate that is NaN compares as False everywhere, as it should.
        return jnp.where(_count(values_BxF, _float(candidate_B)[:, None]) >= k, candidate_B, bits_B)

    return _float(jax.lax.fori_loop(0, _BITS, one_bit, jnp.zeros(values_BxF.shape[0], jnp.int32)))


def _float(bits: jax.Array) -> jax.Array:
    return jax.lax.bitcast_convert_type(bits, jnp.float32)


def _count(values_BxF: jax.Array, at_least: jax.Array) -> jax.Array:
    """Entries of each row that are at least so large, [B, 1] or [1, 1]: int32 [B].

    Slices are compared and added to each other first: that is one loop over arrays, which the CPU's compiler vectorises;
    reducing along a row is not.
    """
    F = values_BxF.shape[-1]
    width = max(_LANES, F // _MOST_SLICES)
    starts = range(0, F - width + 1, width)
    slices = [(values_BxF[:, i : i + width] >= at_least).astype(jnp.int32) for i in starts]
    rest = jnp.sum(values_BxF[:, len(slices) * width :] >= at_least, axis=-1, dtype=jnp.int32)
    return jnp.sum(sum(slices), axis=-1) + rest if slices else rest
