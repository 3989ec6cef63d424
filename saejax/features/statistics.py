"""How often and how strongly one latent fires: exact, of all of its active rows. Pure."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

N_BINS = 40


class Statistics(NamedTuple):
    """As the fields of `schemas.Latent` of the same names."""

    density: float
    n_active: int
    max_activation: float
    mean_activation: float
    quantiles: list[float]
    interval_shares: list[float]
    histogram_edges: list[float]
    histogram_counts: list[int]


def statistics(values: np.ndarray, n_rows: int, n_intervals: int) -> Statistics:
    """What is said of the activations themselves.

    Args:
      values: float32, those above 0.
      n_rows: rows that were looked at.
      n_intervals: Q.
    """
    if not len(values):
        return Statistics(0.0, 0, 0.0, 0.0, [], [], [], [])
    largest = float(values.max())
    counts, edges = np.histogram(values, bins=N_BINS, range=(0.0, largest))
    shares = np.bincount(intervals_of(values, n_intervals), minlength=n_intervals + 1)[1:] / len(values)
    return Statistics(
        density=len(values) / n_rows,
        n_active=len(values),
        max_activation=largest,
        mean_activation=float(values.mean(dtype=np.float64)),
        quantiles=interval_edges(largest, n_intervals).tolist(),
        interval_shares=shares.tolist(),
        histogram_edges=edges.tolist(),
        histogram_counts=counts.tolist(),
    )


def interval_edges(largest: float, n_intervals: int) -> np.ndarray:
    """Even parts of the range, float32 [Q + 1], from the largest activation down to 0."""
    return np.linspace(largest, 0.0, n_intervals + 1).astype(np.float32)


def intervals_of(values: np.ndarray, n_intervals: int) -> np.ndarray:
    """Each value's interval, 1 for the part of the range that ends at the largest, Q for the one above 0.

    Source: Bricken et al. 2023's "subsample intervals", SAEDashboard's quantile groups: even parts of the range, not of rows.
    """
    rising = interval_edges(float(values.max()), n_intervals)[::-1]
    return n_intervals + 1 - np.searchsorted(rising, values, side="left")
