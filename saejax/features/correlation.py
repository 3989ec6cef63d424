"""Pearson correlations of latents with each other and with neurons, from sums of products over rows.

    r(f, g) = (Σ f g / n − μ_f μ_g) / (σ_f σ_g),   over all n rows that count, those where neither is active included

Products are sparse: only active latents cost. Where there would be too many of them, they are taken over fewer rows, spread
evenly.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse

from saejax.features.activity import Activity

_PRODUCTS = 1.5e9  # of pairs of active latents: a quarter of a minute on one core
_ENTRIES = 2**25  # of active latents in memory: 256 MiB, twice
_BLOCK_FLOATS = 2**23


class Related(NamedTuple):
    """For each latent the n most correlated others, or neurons: int64 [F, n], and r, float32 [F, n], falling."""

    index: np.ndarray
    r: np.ndarray


class NeuronSums(NamedTuple):
    """Sums over rows of products with neurons, float64 unless said.

    Attributes:
      n_rows: how many.
      products: Σ f a [F, I], float32.
      latents, latent_squares: Σ f, Σ f² [F].
      neurons, neuron_squares: Σ a, Σ a² [I].
    """

    n_rows: int
    products: np.ndarray
    latents: np.ndarray
    latent_squares: np.ndarray
    neurons: np.ndarray
    neuron_squares: np.ndarray

    @classmethod
    def zeros(cls, d_sae: int, n_neurons: int) -> NeuronSums:
        """Of no rows."""
        return cls(0, np.zeros((d_sae, n_neurons), np.float32), *(np.zeros(n) for n in (d_sae,) * 2 + (n_neurons,) * 2))

    def plus(self, f_BxF: sparse.csr_array, a_BxI: np.ndarray, keep_B: np.ndarray) -> NeuronSums:
        """With a batch added, of whose rows only those kept count; the products are added in place."""
        self.products[...] += f_BxF.T @ a_BxI
        kept = a_BxI[keep_B].astype(np.float64)
        sums = (np.asarray(f_BxF.sum(0, dtype=np.float64)), _squares(f_BxF), kept.sum(0), np.square(kept).sum(0))
        return NeuronSums(self.n_rows + int(keep_B.sum()), self.products, *(a + b for a, b in zip(self[2:], sums)))

    def strongest(self, n: int) -> Related:
        """The n neurons that each latent is most correlated with."""
        n_rows = max(self.n_rows, 1)
        a_mean, a_std = _mean_std(self.neurons, self.neuron_squares, n_rows)
        f_mean, f_std = _mean_std(self.latents, self.latent_squares, n_rows)
        block = max(1, _BLOCK_FLOATS // self.products.shape[1])
        found = []
        for i in range(0, len(f_mean), block):
            part = slice(i, i + block)
            found.append(_top(_pearson(self.products[part], f_mean[part], f_std[part], a_mean, a_std, n_rows), n))
        return Related(*(np.concatenate(column) for column in zip(*found)))


def latents(activity: Activity, keep_N: np.ndarray, window: int, n: int) -> tuple[Related, int]:
    """The n latents that each latent is most correlated with, itself left out, and over how many rows.

    Args:
      activity: of all latents.
      keep_N: bool, the rows that count.
      window: tokens in a window: rows are taken or left by windows.
      n: lowered to F − 1.
    """
    n = min(n, activity.d_sae - 1)
    a_row = activity.n_entries / max(keep_N.sum(), 1)
    every = max(1, int(np.ceil(activity.n_entries * a_row / _PRODUCTS)), int(np.ceil(activity.n_entries / _ENTRIES)))
    chosen_N = np.arange(len(keep_N)) // window % every == 0
    n_rows = max(1, int((keep_N & chosen_N).sum()))
    f_NxF = activity.of_rows(chosen_N)
    by_row = f_NxF.tocsr()
    mean, std = _mean_std(np.asarray(f_NxF.sum(0, dtype=np.float64)), _squares(f_NxF), n_rows)
    block = max(1, _BLOCK_FLOATS // activity.d_sae)
    found = []
    for i in range(0, activity.d_sae, block):
        part = slice(i, min(i + block, activity.d_sae))
        products_KxF = (f_NxF[:, part].T @ by_row).toarray()
        r_KxF = _pearson(products_KxF, mean[part], std[part], mean, std, n_rows)
        r_KxF[np.arange(len(r_KxF)), np.arange(part.start, part.stop)] = -np.inf
        found.append(_top(r_KxF, n))
    return Related(*(np.concatenate(column) for column in zip(*found))), n_rows


def _squares(f_BxF) -> np.ndarray:
    return np.asarray(f_BxF.power(2).sum(0, dtype=np.float64))


def _mean_std(total: np.ndarray, squares: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    mean = total / n
    return mean, np.sqrt(np.maximum(squares / n - mean**2, 0.0))


def _pearson(products, f_mean, f_std, g_mean, g_std, n: int) -> np.ndarray:
    """r float32 [F, G]; 0 where one of the two does not vary."""
    spread = np.outer(f_std, g_std)
    covariance = products / n - np.outer(f_mean, g_mean)
    return np.divide(covariance, spread, out=np.zeros_like(spread), where=spread > 0).astype(np.float32)


def _top(r_KxG: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The n largest of each row, falling."""
    n = min(n, r_KxG.shape[1])
    index = np.argpartition(-r_KxG, n - 1, axis=1)[:, :n] if n else np.zeros((len(r_KxG), 0), np.int64)
    r_KxN = np.take_along_axis(r_KxG, index, axis=1)
    order = np.argsort(-r_KxN, axis=1, kind="stable")
    return np.take_along_axis(index, order, axis=1), np.take_along_axis(r_KxN, order, axis=1)
