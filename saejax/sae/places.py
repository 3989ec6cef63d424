"""`Places`: where the latents are that are not 0; from the marks of a dense array, or as each row's strongest."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

_WORD_BITS = 32


class Places(NamedTuple):
    """Where values belong in a [B, F] array.

    Attributes:
      latents: int32 in [0, F), [B, K] for K values of each row, or [N].
      rows: int32 [N], not falling, in [0, B); None for K values of each row.
    """

    latents: jax.Array
    rows: jax.Array | None = None

    def flat(self) -> tuple[jax.Array, jax.Array]:
        """(rows [N], latents [N])."""
        if self.rows is not None:
            return self.rows, self.latents
        B, K = self.latents.shape
        return jnp.repeat(jnp.arange(B, dtype=jnp.int32), K), self.latents.reshape(-1)


def places_of(kept_BxF: jax.Array, n: int) -> tuple[jax.Array, Places]:
    """The first n positive entries, row by row.

    Marks are packed into words of 32, whose counts are summed: the i-th entry's word is found by bisection, its bit by halving.

    Args:
      kept_BxF: float, 0 or positive.
      n: static; if there are fewer, values of 0 follow.

    Returns:
      (values, float32 [n]; their places, flat).
    """
    B, F = kept_BxF.shape
    n_words = -(-F // _WORD_BITS)
    padded_BxF = jnp.pad(kept_BxF, ((0, 0), (0, n_words * _WORD_BITS - F)))
    # Bit j of a row's word w marks latent j · n_words + w: so words are sums of slices, which a CPU's compiler vectorises.
    slices = [padded_BxF[:, j * n_words : (j + 1) * n_words] > 0 for j in range(_WORD_BITS)]
    words = sum(marks.astype(jnp.uint32) << j for j, marks in enumerate(slices)).reshape(-1)
    ends = jnp.cumsum(_count(words))
    entry_N = jnp.arange(n, dtype=jnp.int32)
    word_N = jnp.minimum(jnp.searchsorted(ends, entry_N, side="right").astype(jnp.int32), len(words) - 1)
    bit_N = _nth_bit(words[word_N], entry_N - (ends[word_N] - _count(words[word_N])))
    rows_N, latents_N = word_N // n_words, jnp.minimum(bit_N * n_words + word_N % n_words, F - 1)
    return jnp.where(entry_N < ends[-1], kept_BxF[rows_N, latents_N], 0.0), Places(latents_N, rows_N)


def _count(words: jax.Array) -> jax.Array:
    return jax.lax.population_count(words).astype(jnp.int32)


def _nth_bit(words: jax.Array, n: jax.Array) -> jax.Array:
    """The place of the n-th set bit, counted from 0, of each word."""
    place = jnp.zeros_like(n)
    for half in (16, 8, 4, 2, 1):
        n_below = _count(words & ((jnp.uint32(1) << half) - 1))
        above = n >= n_below
        n, place = jnp.where(above, n - n_below, n), jnp.where(above, place + half, place)
        words = jnp.where(above, words >> half, words)
    return place
