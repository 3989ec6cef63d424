"""Activations: from tokens to rows, to disk, and back in a shuffled order that is pure in the step."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class ActivationSource(Protocol):
    """Rows to train on.

    `batches` is pure in the step: the same step always gives the same rows, so resuming needs no iterator state.
    """

    width: int
    n_rows: int

    def batches(self, step: int, n_steps: int) -> np.ndarray:
        """The rows of steps `step` to `step + n_steps − 1`, bfloat16 [n_steps, B, D]."""
        ...
