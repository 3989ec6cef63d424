"""A first pass over the held-out windows: each site's mean row, and a sample of rows for probes.

The mean is exact, so the mean predictor of `calibration` is the mean of the very rows; the sample is bounded, so that its size
does not depend on how much text is held out.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from saejax.evaluation.splice import LanguageModel
from saejax.lm import gpt2


class Survey(NamedTuple):
    """What the first pass found.

    Attributes:
      mean: {site: float32 [D]}, over all kept rows.
      addresses_N: int64, the sampled rows' places in the stream of tokens, rising.
      rows: {site: float32 [N, D]}, the sampled rows.
    """

    mean: dict[str, np.ndarray]
    addresses_N: np.ndarray
    rows: dict[str, np.ndarray]


@functools.partial(jax.jit, static_argnames=("config", "dtype", "sites"))
def _rows(params, tokens_BxL, *, config, dtype, sites):
    _, captured = gpt2.run(params, tokens_BxL, config=config, capture=sites, logits=False, dtype=dtype)
    return {site: x.reshape(tokens_BxL.size, -1).astype(jnp.float32) for site, x in captured.items()}


@jax.jit
def _kept_sum(x_NxD: jax.Array, keep_N: jax.Array) -> jax.Array:
    return jnp.sum(jnp.where(keep_N[:, None], x_NxD, 0.0), axis=0)


def survey(
    model: LanguageModel,
    sites: Sequence[str],
    tokens_NxL: np.ndarray,
    keep_NxL: np.ndarray,
    *,
    batch_windows: int,
    n_sample: int,
    seed: int = 0,
) -> Survey:
    """Runs the GPT-2 up to the deepest site.

    Args:
      model: the GPT-2.
      sites: hook names.
      tokens_NxL: integer windows.
      keep_NxL: bool, the positions that count.
      batch_windows: windows in a forward pass.
      n_sample: rows wanted; fewer where fewer are kept.
      seed: of the choice of rows, uniform among the kept ones.
    """
    kept = np.flatnonzero(keep_NxL)
    chosen = np.sort(np.random.default_rng(seed).choice(kept, size=min(n_sample, len(kept)), replace=False))
    totals = dict.fromkeys(sites, 0.0)
    pieces: dict[str, list[np.ndarray]] = {site: [] for site in sites}
    L = tokens_NxL.shape[1]
    for start in range(0, len(tokens_NxL), batch_windows):
        tokens_BxL = jnp.asarray(tokens_NxL[start : start + batch_windows])
        captured = _rows(model.params, tokens_BxL, config=model.config, dtype=model.dtype, sites=tuple(sites))
        keep_N = jnp.asarray(keep_NxL[start : start + batch_windows].ravel())
        first, last = np.searchsorted(chosen, [start * L, start * L + tokens_BxL.size])
        for site, x_NxD in captured.items():
            totals[site] = totals[site] + np.asarray(_kept_sum(x_NxD, keep_N), np.float64)
            pieces[site].append(np.asarray(x_NxD)[chosen[first:last] - start * L])
    mean = {site: np.float32(total / max(len(kept), 1)) for site, total in totals.items()}
    return Survey(mean, chosen, {site: np.concatenate(rows) for site, rows in pieces.items()})
