"""Confidence intervals: the bootstrap over held-out documents (Efron 1979; percentile intervals).

Tokens of one document are not independent, so documents are what is resampled: each resample draws as many documents as there
are, with replacement, and takes every metric anew as a ratio of the resample's totals, the variance about the resample's own
mean included. All members see the same resamples. The interval says how the numbers would vary with other text of this kind;
not how they would vary with another training seed.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from saejax.evaluation import splice
from saejax.evaluation.metrics import NOT_PER_DOCUMENT

METRICS = (
    *("l0", "mse", "fvu", "explained_variance", "cosine_similarity", "ce_sae", "ce_recovered", "kl_sae"),
    *("relative_reconstruction_bias", "l2_ratio"),
)
FEWEST_DOCUMENTS = 10
_WEIGHTS_AT_ONCE = 2**22  # bounds the memory of a block of resamples

Intervals = dict[str, dict[str, list[float]]]


def document_of_positions(starts: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """int32 [N, L]: the document of each position of packed windows.

    Args:
      starts: int64, the address of each document's first token, rising from 0.
      shape: (windows N, context size L).
    """
    addresses = np.arange(shape[0] * shape[1])
    return (np.searchsorted(starts, addresses, side="right") - 1).astype(np.int32).reshape(shape)


def bootstrap(
    sums: Mapping[str, Mapping[str, np.ndarray]],
    members: Mapping[str, splice.Spliced],
    *,
    n_samples: int,
    seed: int = 0,
    level: float = 0.95,
) -> Intervals:
    """Percentile intervals of `METRICS`.

    Args:
      sums: {name: {sum: float64 [M, ...]}} a document, as `DocumentSums.by_name` holds them.
      members: whose intervals are wanted.
      n_samples: resamples.
      seed: of the resamples.
      level: share of resamples inside.

    Returns:
      {member: {metric: [low, high]}}; {} with fewer than `FEWEST_DOCUMENTS` documents, of which no interval can be had. A
      metric that is not finite in some resample is left out.
    """
    n_documents = len(sums["clean"]["n_losses"])
    if n_documents < FEWEST_DOCUMENTS or not n_samples:
        return {}
    rng = np.random.default_rng(seed)
    found: dict[str, dict[str, list[np.ndarray]]] = {name: {} for name in members}
    block = max(1, _WEIGHTS_AT_ONCE // n_documents)
    for start in range(0, n_samples, block):
        weights_RxM = rng.multinomial(n_documents, np.full(n_documents, 1 / n_documents), size=min(block, n_samples - start))
        weights_RxM = weights_RxM.astype(np.float64)
        totals = {
            name: {key: weights_RxM @ value for key, value in own.items() if key not in NOT_PER_DOCUMENT}
            for name, own in sums.items()
        }
        for name, member in members.items():
            for metric, values_R in splice.ratios(totals, name, member).items():
                found[name].setdefault(metric, []).append(values_R)
    tail = 50.0 * (1.0 - level)
    intervals: Intervals = {}
    for name, metrics in found.items():
        samples = {metric: np.concatenate(metrics[metric]) for metric in METRICS if metric in metrics}
        intervals[name] = {
            metric: [float(v) for v in np.percentile(values_R, [tail, 100.0 - tail])]
            for metric, values_R in samples.items()
            if np.isfinite(values_R).all()
        }
    return intervals


def half_width(interval: list[float] | None) -> float | None:
    """Half an interval's width, for "value ± half-width"; None for none."""
    return None if interval is None else (interval[1] - interval[0]) / 2
