"""Rows to train on where no activations are stored: sparse combinations of planted directions, a mean, and noise."""

from __future__ import annotations

import ml_dtypes
import numpy as np

_DIRECTIONS, _ACTIVE = 4, 16  # directions as a multiple of the width; active ones a row
_NOISE, _MEAN = 0.05, 2.0


def rows(n_rows: int, width: int, seed: int) -> np.ndarray:
    """Rows drawn from a seed, bfloat16 [n_rows, width].

    Args:
      n_rows: how many.
      width: D.
      seed: of everything.
    """
    rng = np.random.default_rng((seed, 7))
    directions_NxD = rng.standard_normal((_DIRECTIONS * width, width), np.float32)
    directions_NxD /= np.linalg.norm(directions_NxD, axis=1, keepdims=True)
    mean_D = _MEAN * rng.standard_normal(width, np.float32) / width**0.5
    x_BxD = mean_D + _NOISE * rng.standard_normal((n_rows, width), np.float32)
    for _ in range(_ACTIVE):
        amount_Bx1 = rng.gamma(2.0, 0.5, (n_rows, 1)).astype(np.float32)
        x_BxD += amount_Bx1 * directions_NxD[rng.integers(len(directions_NxD), size=n_rows)]
    return x_BxD.astype(ml_dtypes.bfloat16)
