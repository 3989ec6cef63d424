"""The three products with gathered rows that `sparse.py` is made of, in plain JAX, in the order that is fast on a CPU.

One member of an ensemble after the other, so that what is gathered from stays in cache. Sums are float32. Two of the three are
JAX's own product with a matrix in compressed rows (Eigen's, on a CPU).
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.custom_batching import sequential_vmap
from jax.experimental.sparse import BCSR

from saejax.sae.places import Places

_BLOCK = 1024  # pairs of gathered rows that stay in cache
_KEY_BITS = 32


def decode(values: jax.Array, places: Places, W_FxE: jax.Array, n_rows: int) -> jax.Array:
    """Σ of v W[f] over the entries (b, f) of each row b, float32 [B, E].

    Args:
      values: float, [B, K] or [N], as the places are; 0 for what does not count.
      places: of the entries.
      W_FxE: float.
      n_rows: B.
    """
    return _row_sums(n_rows)(values.reshape(-1), *places.flat(), W_FxE)


def pick(rows_BxE: jax.Array, W_FxE: jax.Array, places: Places) -> jax.Array:
    """⟨rows_b, W[f]⟩ for each entry (b, f), float32, [B, K] or [N], as the places are.

    Args:
      rows_BxE, W_FxE: float.
      places: of the entries.
    """
    return _pick(rows_BxE, W_FxE, *places.flat()).reshape(places.latents.shape)


def accumulate(values: jax.Array, places: Places, rows_BxE: jax.Array, d_sae: int) -> jax.Array:
    """Σ of v rows_b over the entries (b, f) of each latent f, float32 [F, E].

    Args:
      values: float, [B, K] or [N], as the places are; 0 for what does not count.
      places: of the entries.
      rows_BxE: float.
      d_sae: F.
    """
    return _latent_sums(d_sae)(values.reshape(-1), *places.flat(), rows_BxE)


@functools.cache
def _row_sums(n_rows: int):
    @sequential_vmap
    def sums(values_N: jax.Array, rows_N: jax.Array, latents_N: jax.Array, W_FxE: jax.Array) -> jax.Array:
        return _compressed(values_N, rows_N, latents_N, (n_rows, len(W_FxE))) @ W_FxE.astype(jnp.float32)

    return sums


@functools.cache
def _latent_sums(d_sae: int):
    @sequential_vmap
    def sums(values_N: jax.Array, rows_N: jax.Array, latents_N: jax.Array, rows_BxE: jax.Array) -> jax.Array:
        order_N, sorted_N = _by_latent(latents_N, d_sae)
        codes_FxB = _compressed(values_N[order_N], sorted_N, rows_N[order_N], (d_sae, len(rows_BxE)))
        return codes_FxB @ rows_BxE.astype(jnp.float32)

    return sums


@sequential_vmap
def _pick(rows_BxE: jax.Array, W_FxE: jax.Array, rows_N: jax.Array, latents_N: jax.Array) -> jax.Array:
    N, one_E = len(rows_N), jnp.ones(W_FxE.shape[1])
    blocks = (jnp.pad(a, (0, -N % _BLOCK)).reshape(-1, _BLOCK) for a in (rows_N, latents_N))

    def block(places: tuple[jax.Array, jax.Array]) -> jax.Array:
        a, b = (_rows(A, place).astype(jnp.float32) for A, place in zip((rows_BxE, W_FxE), places))
        return (a * b) @ one_E  # a product, since sums along a row are not vectorised

    return jax.lax.map(block, tuple(blocks)).reshape(-1)[:N]


def _compressed(values_N: jax.Array, rows_N: jax.Array, columns_N: jax.Array, shape: tuple[int, int]) -> BCSR:
    """The matrix of these entries, whose rows must not fall."""
    starts = jnp.searchsorted(rows_N, jnp.arange(shape[0] + 1, dtype=rows_N.dtype)).astype(jnp.int32)
    return BCSR((values_N.astype(jnp.float32), columns_N.astype(jnp.int32), starts), shape=shape)


def _by_latent(latents_N: jax.Array, d_sae: int) -> tuple[jax.Array, jax.Array]:
    """(places in the order of their latents, the latents in that order), both [N].

    Latent and place are sorted as one number where they fit in 32 bits: six times as fast as two on a CPU.
    """
    bits = (len(latents_N) - 1).bit_length()
    place_N = jnp.arange(len(latents_N), dtype=jnp.uint32)
    if bits + (d_sae - 1).bit_length() > _KEY_BITS:
        sorted_N, order_N = jax.lax.sort((latents_N, place_N), num_keys=1)
        return order_N, sorted_N
    key_N = jnp.sort((latents_N.astype(jnp.uint32) << bits) | place_N)
    return key_N & ((1 << bits) - 1), (key_N >> bits).astype(jnp.int32)


def _rows(W_FxE: jax.Array, places: jax.Array) -> jax.Array:
    """The rows of W at places that are in bounds."""
    return W_FxE.at[places].get(mode="promise_in_bounds")
