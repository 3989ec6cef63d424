"""`decode`, `pick` and `accumulate`: products with a [B, F] matrix of which K entries a row are not 0; see `kernels.py`.

Sizes. A program holds a tile of _DEPTH gathered rows by a slab of _WIDTH columns, 16 bytes a thread and row, so that 8 loads of
each thread are under way at once and a sum over rows needs no other thread. Slabs are the slow axis of the grid: all rows are
done for _WIDTH columns, then for the next. A slab of W is 25 MB for F = 24,576 in float32 and stays in an H200's 50 MB of L2
cache; the whole W (75 MB) would not.

Expected, at B = 8,192, K = 32, E = 768, F = 24,576 in float32 on an H200 (4.8 TB/s of memory, at least 5 TB/s from L2; not
measured): each of the three gathers B K E · 4 bytes = 805 MB, from L2, so about 0.16 ms; from memory `decode` and `pick` read W
once and x or y, 100 MB, and `accumulate` reads 25 MB and writes 75 MB: 0.02 ms, which overlap. The sort of B K = 262,144 pairs
is a few passes over 2 MB. The dense product is 309 GFLOP, 0.4 ms in bfloat16 and 0.8 ms in TF32, and reads f, 805 MB, besides.
With bfloat16 rows the gathers are halved.

Compiled for sm_90 with Triton 3.8, they take 32 to 79 registers a thread, nothing spills, and rows are read 16 bytes at a time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

_DEPTH = 8
_WIDTH = 256
_PIECE = 64  # entries of one latent that are summed in one go; a latent of n entries costs 2 · 64 + n / 64 loads in a row


def decode(values_BxK: jax.Array, indices_BxK: jax.Array, W_FxE: jax.Array, *, interpret: bool = False) -> jax.Array:
    """Σ_k v_bk W[i_bk], for each b; rows of W whose value is 0 are not read.

    Args:
      values_BxK: float32.
      indices_BxK: int32 in [0, F), also where the value is 0.
      W_FxE: float32 or bfloat16.
      interpret: runs without a GPU.

    Returns:
      float32 [B, E].
    """
    B, E = values_BxK.shape[0], W_FxE.shape[1]
    out = jax.ShapeDtypeStruct((B, E), jnp.float32)
    return _launch(_decode_kernel, out, B, W_FxE, interpret)(values_BxK, indices_BxK, W_FxE)


def pick(rows_BxE: jax.Array, W_FxE: jax.Array, indices_BxK: jax.Array, *, interpret: bool = False) -> jax.Array:
    """⟨rows_b, W[i_bk]⟩: the gradient of `decode` with respect to the values.

    Args:
      rows_BxE: float32 or bfloat16.
      W_FxE: float32 or bfloat16.
      indices_BxK: int32 in [0, F).
      interpret: runs without a GPU.

    Returns:
      float32 [B, K].
    """
    (B, E), K = rows_BxE.shape, indices_BxK.shape[1]
    parts = jax.ShapeDtypeStruct((pl.cdiv(E, _width(E)), B, K), jnp.float32)
    return _launch(_pick_kernel, parts, B, W_FxE, interpret)(rows_BxE, W_FxE, indices_BxK).sum(0)


def accumulate(
    values_BxK: jax.Array, indices_BxK: jax.Array, rows_BxE: jax.Array, n_latents: int, *, interpret: bool = False
) -> jax.Array:
    """Σ v_bk rows_b over the entries (b, k) with i_bk = f, for each f: the gradient of `decode` with respect to W.

    Entries are sorted by latent, those whose value is 0 left out. The sorted list is cut into pieces of _PIECE entries; a first
    pass sums the pieces that are one latent's alone, a second gives each latent to programs of its own, which sum its whole
    pieces' sums and the entries before and after them. So a latent that fires on every row is not one long loop.

    Args:
      values_BxK: float32.
      indices_BxK: int32 in [0, F).
      rows_BxE: float32 or bfloat16.
      n_latents: F.
      interpret: runs without a GPU.

    Returns:
      float32 [F, E].
    """
    E = rows_BxE.shape[1]
    latent_N, row_N, value_N = _by_latent(values_BxK, indices_BxK, n_latents)
    n_pieces = latent_N.size // _PIECE
    pieces, out = (jax.ShapeDtypeStruct((n, E), jnp.float32) for n in (n_pieces, n_latents))
    kernel = functools.partial(_pieces_kernel, n_latents=n_latents)
    piece_PxE = _launch(kernel, pieces, n_pieces, rows_BxE, interpret)(latent_N, row_N, value_N, rows_BxE)
    # Unrolled, the search's 18 or so steps are one kernel of XLA's; in a loop each would be one.
    start_F = jnp.searchsorted(latent_N, jnp.arange(n_latents + 1, dtype=jnp.int32), method="scan_unrolled")
    return _launch(_latents_kernel, out, n_latents, rows_BxE, interpret)(start_F, row_N, value_N, rows_BxE, piece_PxE)


def _by_latent(values_BxK: jax.Array, indices_BxK: jax.Array, n_latents: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The entries' latents, rows and values in the order of latents, and of positions within one; N is whole pieces.

    Padding, and entries whose value is 0, come last, with the latent F. Only pairs are sorted, for which XLA has a radix sort.
    """
    K = values_BxK.shape[1]
    value_N = jnp.pad(values_BxK.reshape(-1), (0, -values_BxK.size % _PIECE))
    index_N = jnp.pad(indices_BxK.reshape(-1), (0, -values_BxK.size % _PIECE))
    latent_N = jnp.where(value_N != 0, index_N, n_latents)
    latent_N, order_N = jax.lax.sort((latent_N, jnp.arange(latent_N.size, dtype=jnp.int32)), num_keys=1, is_stable=True)
    return latent_N, order_N // K, value_N[order_N]  # a padding's row is past the end, and never read


def _decode_kernel(values_ref, indices_ref, W_ref, y_ref):
    b, columns_E = pl.program_id(0), _columns(W_ref.shape[1])

    def entries(k_N: jax.Array, inside_N: jax.Array) -> tuple[jax.Array, jax.Array]:
        index_N = triton.load(indices_ref.at[b, k_N], mask=inside_N, other=0)
        return index_N, triton.load(values_ref.at[b, k_N], mask=inside_N, other=0.0)

    _store_row(y_ref, b, columns_E, _weighted_sum(W_ref, columns_E, entries, 0, values_ref.shape[1]))


def _pick_kernel(rows_ref, W_ref, indices_ref, parts_ref):
    n_entries, E = indices_ref.shape[1], rows_ref.shape[1]
    b, slab, columns_E = pl.program_id(0), pl.program_id(1), _columns(E)
    row_E = triton.load(rows_ref.at[b, columns_E], mask=columns_E < E, other=0.0).astype(jnp.float32)

    @pl.loop(0, pl.cdiv(n_entries, _DEPTH))
    def _(step):
        k_N = step * _DEPTH + jnp.arange(_DEPTH, dtype=jnp.int32)
        index_N = triton.load(indices_ref.at[b, k_N], mask=k_N < n_entries, other=0)
        picked_N = jnp.sum(_gather(W_ref, index_N, k_N < n_entries, columns_E) * row_E[None, :], axis=1)
        triton.store(parts_ref.at[slab, b, k_N], picked_N, mask=k_N < n_entries)


def _pieces_kernel(latent_ref, row_ref, value_ref, rows_ref, pieces_ref, *, n_latents: int):
    piece, columns_E = pl.program_id(0), _columns(rows_ref.shape[1])
    start, stop = piece * _PIECE, (piece + 1) * _PIECE
    first = latent_ref[start]

    @pl.when((first == latent_ref[stop - 1]) & (first < n_latents))  # other pieces' sums are left undefined, and not read
    def _():
        entries = _sorted_entries(row_ref, value_ref)
        _store_row(pieces_ref, piece, columns_E, _weighted_sum(rows_ref, columns_E, entries, start, stop))


def _latents_kernel(start_ref, row_ref, value_ref, rows_ref, pieces_ref, out_ref):
    latent, columns_E = pl.program_id(0), _columns(rows_ref.shape[1])
    start, stop = start_ref[latent], start_ref[latent + 1]
    first_piece, end_piece = pl.cdiv(start, _PIECE), stop // _PIECE
    entries = _sorted_entries(row_ref, value_ref)
    before_E = _weighted_sum(rows_ref, columns_E, entries, start, jnp.minimum(stop, first_piece * _PIECE))
    whole_E = _weighted_sum(pieces_ref, columns_E, _ones, first_piece, end_piece)
    after_E = _weighted_sum(rows_ref, columns_E, entries, jnp.maximum(first_piece, end_piece) * _PIECE, stop)
    _store_row(out_ref, latent, columns_E, before_E + whole_E + after_E)


Entries = Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]


def _sorted_entries(row_ref, value_ref) -> Entries:
    def entries(n_N: jax.Array, inside_N: jax.Array) -> tuple[jax.Array, jax.Array]:
        row_N = triton.load(row_ref.at[n_N], mask=inside_N, other=0)
        return row_N, triton.load(value_ref.at[n_N], mask=inside_N, other=0.0)

    return entries


def _ones(n_N: jax.Array, inside_N: jax.Array) -> tuple[jax.Array, jax.Array]:
    return n_N, inside_N.astype(jnp.float32)


def _weighted_sum(ref, columns_E: jax.Array, entries: Entries, start, stop) -> jax.Array:
    """Σ over n in [start, stop) of weight_n · ref[index_n], a slab, where entries(n, inside) gives (index_n, weight_n)."""

    def step(i: jax.Array, sum_E: jax.Array) -> jax.Array:
        n_N = start + i * _DEPTH + jnp.arange(_DEPTH, dtype=jnp.int32)
        index_N, weight_N = entries(n_N, n_N < stop)
        return sum_E + jnp.sum(weight_N[:, None] * _gather(ref, index_N, weight_N != 0, columns_E), axis=0)

    return jax.lax.fori_loop(0, pl.cdiv(stop - start, _DEPTH), step, jnp.zeros(columns_E.shape, jnp.float32))


def _gather(ref, index_N: jax.Array, wanted_N: jax.Array, columns_E: jax.Array) -> jax.Array:
    """A slab of the rows at index_N, float32; 0 for those that are not wanted and for columns past the last."""
    mask_NxE = wanted_N[:, None] & (columns_E < ref.shape[1])[None, :]
    return triton.load(ref.at[index_N[:, None], columns_E[None, :]], mask=mask_NxE, other=0.0).astype(jnp.float32)


def _store_row(ref, index: jax.Array, columns_E: jax.Array, row_E: jax.Array) -> None:
    triton.store(ref.at[index, columns_E], row_E, mask=columns_E < ref.shape[1])


def _width(E: int) -> int:
    """The columns of a slab."""
    return min(_WIDTH, pl.next_power_of_2(E))


def _columns(E: int) -> jax.Array:
    """The columns of this program's slab; the last slab's may be past the last column."""
    return pl.program_id(1) * _width(E) + jnp.arange(_width(E), dtype=jnp.int32)


def _launch(kernel: Callable, out: jax.ShapeDtypeStruct, n_programs: int, gathered_NxE: jax.Array, interpret: bool) -> Callable:
    """`kernel` on n_programs × slabs programs, each of as many warps as read a slab of one row at 16 bytes a thread."""
    E = gathered_NxE.shape[1]
    return pl.pallas_call(
        kernel,
        out_shape=out,
        grid=(n_programs, pl.cdiv(E, _width(E))),
        compiler_params=triton.CompilerParams(num_warps=max(1, _width(E) * gathered_NxE.dtype.itemsize // 512)),
        interpret=interpret,
    )
