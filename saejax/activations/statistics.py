"""Where decoder biases start: a point in the middle of the rows."""

from __future__ import annotations

import numpy as np

_TOLERANCE = 1e-6
_MOST_STEPS = 200


def geometric_median(rows_NxD: np.ndarray) -> np.ndarray:
    """The point with the smallest mean Euclidean distance to the rows, float64 [D], by Weiszfeld's iteration.

    Source: Bricken et al. 2023, "Towards Monosemanticity", which starts the decoder's bias there.

    Args:
      rows_NxD: rows, any float dtype.
    """
    rows_NxD = np.asarray(rows_NxD, np.float64)
    point_D = rows_NxD.mean(0)
    scale = np.linalg.norm(rows_NxD - point_D, axis=1).mean()
    for _ in range(_MOST_STEPS):
        # A row that the point has reached would have an infinite weight.
        weight_N = 1.0 / np.maximum(np.linalg.norm(rows_NxD - point_D, axis=1), _TOLERANCE * scale + np.finfo(np.float64).tiny)
        before_D, point_D = point_D, weight_N @ rows_NxD / weight_N.sum()
        if np.linalg.norm(point_D - before_D) <= _TOLERANCE * scale:
            break
    return point_D
