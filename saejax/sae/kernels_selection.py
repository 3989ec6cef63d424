"""`kth_largest` and `kth_largest_of_all`: the k-th largest value, by the bits of float32; see `kernels.py`.

For numbers that are not negative the order of the bits is the order of the numbers, so the answer is the largest pattern that
at least k values reach. A row of up to _IN_REGISTERS values is read once and held by one program, which counts 31 times, a bit
each. For B = 8,192 rows of F = 24,576 on an H200 that is 805 MB, 0.17 ms of memory, and about 0.7 ms of comparing (64 a clock
and multiprocessor) and adding (128), which is the bound; XLA's 31 passes over memory would be 5 ms. (Expected, not measured.)

What is longer, a row of 131,072 (512 KB, where a multiprocessor has 256 KB of registers and 228 KB of shared memory) or the
whole [B, F] of batch-top-k, is read 8 times: a pass counts, for each of the next four bits' 15 patterns, the values that reach
it, each program over a span of its own, and XLA adds up the spans' counts and chooses. For the 805 MB, 1.4 ms of memory, 2.2 ms
of comparing and adding; more patterns a pass would compare more, fewer would read more.

Values are counted in float32, exact below 2^24 of them, since a comparison is then one instruction that gives 1.0 or 0.0 and
one that adds it; Triton's compiler packs sums of booleans into bits, at twice the instructions. Compiled for sm_90 with Triton
3.8, a row of 24,576 takes 125 registers a thread and nothing spills: two rows share a multiprocessor, and one is read while the
other is counted.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

_BITS = 31
_IN_REGISTERS = 32_768  # 128 registers of each of 256 threads
_CHUNK = 4_096
_DIGIT_BITS = 4
_DEPTH, _LANES = 8, 1_024
_SPAN = 65_536  # values that a program of a pass counts


def kth_largest(values_BxF: jax.Array, k: jax.Array, *, interpret: bool = False) -> jax.Array:
    """Each row's k-th largest value; 0 where k exceeds the row's length, NaN where k is 0.

    Args:
      values_BxF: float32, not negative.
      k: int32 scalar or [B], may be traced.
      interpret: runs without a GPU.

    Returns:
      float32 [B], bit for bit `selection._kth_largest`.
    """
    B, F = values_BxF.shape
    k_B = jnp.broadcast_to(jnp.asarray(k, jnp.int32), (B,))
    if F > _IN_REGISTERS:
        return _by_passes(values_BxF, k_B, interpret)
    return pl.pallas_call(
        _row_kernel,
        out_shape=jax.ShapeDtypeStruct((B,), jnp.float32),
        grid=(B,),
        compiler_params=triton.CompilerParams(num_warps=8 if F > _CHUNK else 4),
        interpret=interpret,
    )(values_BxF, k_B)


def kth_largest_of_all(values_BxF: jax.Array, k: jax.Array, *, interpret: bool = False) -> jax.Array:
    """The k-th largest of all values, float32 scalar; arguments as in `kth_largest`, with a scalar k.

    Raises:
      ValueError: where there are 2^31 values or more, which int32 cannot count.
    """
    if values_BxF.size >= 2**31:
        raise ValueError(f"values: {values_BxF.shape} are {values_BxF.size} values, not below 2^31; take fewer rows")
    return _by_passes(values_BxF.reshape(1, -1), jnp.asarray(k, jnp.int32)[None], interpret)[0]


def _row_kernel(values_ref, k_ref, out_ref):
    b, F = pl.program_id(0), values_ref.shape[1]
    size, k = min(_CHUNK, pl.next_power_of_2(F)), k_ref[b]
    columns = [start + jnp.arange(size, dtype=jnp.int32) for start in range(0, F, size)]
    chunks = [triton.load(values_ref.at[b, c], mask=c < F, other=-1.0) for c in columns]  # −1 reaches no pattern

    def one_bit(i: jax.Array, bits: jax.Array) -> jax.Array:
        candidate = bits | (1 << (_BITS - 1 - i))
        at_least = jax.lax.bitcast_convert_type(candidate, jnp.float32)
        count = jnp.sum(sum(jnp.where(chunk >= at_least, 1.0, 0.0) for chunk in chunks)).astype(jnp.int32)
        return jnp.where(count >= k, candidate, bits)

    bits = jax.lax.fori_loop(0, _BITS, one_bit, jnp.int32(0))
    out_ref[b] = jax.lax.bitcast_convert_type(bits, jnp.float32)


def _by_passes(values_RxN: jax.Array, k_R: jax.Array, interpret: bool) -> jax.Array:
    """`kth_largest` for long rows: the first three bits, then seven times four."""

    def with_digit(shift: jax.Array, n_digits: int, bits_R: jax.Array) -> jax.Array:
        candidates_RxC = bits_R[:, None] | (jnp.arange(1, n_digits, dtype=jnp.int32) << shift)
        counts_RxC = _count_reaching(values_RxN, jax.lax.bitcast_convert_type(candidates_RxC, jnp.float32), interpret)
        # Counts fall as patterns rise: the digit is the number of patterns that k values reach.
        return bits_R | (jnp.sum(counts_RxC >= k_R[:, None], axis=1, dtype=jnp.int32) << shift)

    n_digits, n_passes = 2**_DIGIT_BITS, _BITS // _DIGIT_BITS
    first_bits = _BITS - n_passes * _DIGIT_BITS
    bits_R = with_digit(n_passes * _DIGIT_BITS, 2**first_bits, jnp.zeros(k_R.shape, jnp.int32))
    bits_R = jax.lax.fori_loop(
        0, n_passes, lambda i, bits_R: with_digit((n_passes - 1 - i) * _DIGIT_BITS, n_digits, bits_R), bits_R
    )
    return jax.lax.bitcast_convert_type(bits_R, jnp.float32)


def _count_reaching(values_RxN: jax.Array, candidates_RxC: jax.Array, interpret: bool) -> jax.Array:
    """How many of a row's values reach each of its candidates, int32 [R, C]; a candidate that is NaN is reached by none."""
    (R, N), C = values_RxN.shape, candidates_RxC.shape[1]
    n_spans = pl.cdiv(N, _SPAN)
    return pl.pallas_call(
        _count_kernel,
        out_shape=jax.ShapeDtypeStruct((R, n_spans, C), jnp.int32),
        grid=(n_spans, R),
        compiler_params=triton.CompilerParams(num_warps=8),
        interpret=interpret,
    )(values_RxN, candidates_RxC).sum(1)


def _count_kernel(values_ref, candidates_ref, counts_ref):
    span, r, N = pl.program_id(0), pl.program_id(1), values_ref.shape[1]
    n_candidates = candidates_ref.shape[1]
    candidates = [candidates_ref[r, c] for c in range(n_candidates)]
    place_DxL = jnp.arange(_DEPTH, dtype=jnp.int32)[:, None] * _LANES + jnp.arange(_LANES, dtype=jnp.int32)[None, :]

    def tile(i: jax.Array, counts: list[jax.Array]) -> list[jax.Array]:
        column_DxL = span * _SPAN + i * _DEPTH * _LANES + place_DxL
        values_DxL = triton.load(values_ref.at[r, column_DxL], mask=column_DxL < N, other=-1.0)
        reached = [jnp.where(values_DxL >= candidate, 1.0, 0.0) for candidate in candidates]
        return [count_L + jnp.sum(marks_DxL, axis=0) for count_L, marks_DxL in zip(counts, reached)]

    start = [jnp.zeros(_LANES, jnp.float32)] * n_candidates
    counts = jax.lax.fori_loop(0, pl.cdiv(min(_SPAN, N), _DEPTH * _LANES), tile, start)
    for c, count_L in enumerate(counts):
        counts_ref[r, span, c] = jnp.sum(count_L).astype(jnp.int32)
