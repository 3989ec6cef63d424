"""What is done otherwise on a CPU, an NVIDIA GPU and a TPU: the one place where the platform chooses.

Everywhere the numbers are the same, but for sums in another order, and for a TPU's approximate choice of the largest.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from saejax.sae import bisection, gathers
from saejax.sae.grouped_top_k import grouped_top_k

_RECALL = 0.99


class Platform(NamedTuple):
    """A platform's ways.

    Attributes:
      decode, pick, accumulate: products with gathered rows, as in `gathers`; None where dense products are faster.
      takes_flat_places: whether they take places that are not K of each row.
      kth_largest: (values_BxF not negative, k, k_max) -> float32 [B], each row's k-th largest.
      kth_largest_of_all: (values_BxF, k) -> float32 scalar.
      top_k: (x_BxF, k) -> the k largest of each row, falling, [B, k], and their places, int32 [B, k].
      multiplies_bfloat16: whether products take bfloat16 operands.
      one_by_one: (rows, their width) -> whether an ensemble's members are updated one after the other, which costs a copy of
        their state and keeps their latents in a cache.
      transposes_first: whether a product that contracts the first axis of its left operand is slower than a transpose.
    """

    decode: Callable[..., jax.Array] | None
    pick: Callable[..., jax.Array] | None
    accumulate: Callable[..., jax.Array] | None
    takes_flat_places: bool
    kth_largest: Callable[[jax.Array, jax.Array, int], jax.Array]
    kth_largest_of_all: Callable[[jax.Array, jax.Array], jax.Array]
    top_k: Callable[[jax.Array, int], tuple[jax.Array, jax.Array]]
    multiplies_bfloat16: bool
    transposes_first: bool
    one_by_one: Callable[[int, int], bool]


def platform() -> Platform:
    """That of JAX's default backend."""
    return _MADE[jax.default_backend()]()


@functools.cache
def _cpu() -> Platform:
    return Platform(
        gathers.decode,
        gathers.pick,
        gathers.accumulate,
        True,
        lambda values_BxF, k, k_max: bisection.kth_largest(values_BxF, k),
        bisection.kth_largest_of_all,
        jax.lax.top_k,
        multiplies_bfloat16=False,
        transposes_first=True,
        one_by_one=lambda n_rows, width: n_rows >= 4 * width,
    )


@functools.cache
def _gpu() -> Platform:
    from saejax.sae import kernels  # half a second that other platforms need not wait for

    return Platform(
        lambda values_BxK, places, W_FxE, n_rows: kernels.decode(values_BxK, places.latents, W_FxE),
        lambda rows_BxE, W_FxE, places: kernels.pick(rows_BxE, W_FxE, places.latents),
        lambda values_BxK, places, rows_BxE, d_sae: kernels.accumulate(values_BxK, places.latents, rows_BxE, d_sae),
        False,
        lambda values_BxF, k, k_max: kernels.kth_largest(values_BxF, k),
        kernels.kth_largest_of_all,
        grouped_top_k,
        multiplies_bfloat16=True,
        transposes_first=False,
        one_by_one=lambda n_rows, width: False,
    )


@functools.cache
def _tpu() -> Platform:
    return Platform(
        None,
        None,
        None,
        False,
        _approximate_kth_largest,
        bisection.kth_largest_of_all,
        _approximate_top_k,
        multiplies_bfloat16=True,
        transposes_first=False,
        one_by_one=lambda n_rows, width: False,
    )


_MADE = {"cpu": _cpu, "gpu": _gpu, "tpu": _tpu}


def _approximate_top_k(x_BxF: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    return jax.lax.approx_max_k(x_BxF, k, recall_target=_RECALL)


def _approximate_kth_largest(values_BxF: jax.Array, k: jax.Array, k_max: int) -> jax.Array:
    if not k_max:
        return bisection.kth_largest(values_BxF, k)
    largest_BxK, _ = _approximate_top_k(values_BxF, k_max)
    return jnp.take(largest_BxK, k - 1, axis=1)
