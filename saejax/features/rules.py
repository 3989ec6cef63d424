"""Automatic labels: the one rule about the text that says best where a latent fires.

Of a rule, say "the token is `dtype`", on rows:

    precision = rows of the rule on which the latent fires / rows of the rule
    recall    = its activation on rows of the rule / its activation on all rows

so that many weak activations do not drown what it is for. The rule with the highest F1 of the two is the label where it is at
least `LEAST_F1` and precision and recall are at least `LEAST_SHARE`; else there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from saejax.features.attributes import Attribute

LEAST_F1, LEAST_SHARE = 0.5, 0.4
_ENOUGH_BETTER = 0.02  # in F1, that a later, more special attribute must bring


class Rule(NamedTuple):
    """A label and how right it is; empty where nothing can be said."""

    label: str
    kind: str
    precision: float
    recall: float


NO_RULE = Rule("", "", 0.0, 0.0)


class Rules:
    """Finds the rules of latents on one text."""

    def __init__(self, attributes: Sequence[Attribute]):
        self._attributes = attributes
        self._n_rows = [np.bincount(a.value_N + 1) for a in attributes]

    def best(self, rows: np.ndarray, values: np.ndarray) -> Rule:
        """The label of a latent.

        Args:
          rows: addresses on which it is active.
          values: how much, float32.
        """
        best, best_f1 = NO_RULE, 0.0
        if not len(rows):
            return best
        total = float(values.sum(dtype=np.float64))
        for attribute, n_rows in zip(self._attributes, self._n_rows):
            value, precision, recall, f1 = _best_value(attribute.value_N[rows], values, n_rows, total)
            if f1 > best_f1 + (_ENOUGH_BETTER if best.label else 0.0) and min(precision, recall) >= LEAST_SHARE:
                best, best_f1 = Rule(attribute.describe(value), attribute.kind, precision, recall), f1
        return best if best_f1 >= LEAST_F1 else NO_RULE


def _best_value(found: np.ndarray, values: np.ndarray, n_rows: np.ndarray, total: float) -> tuple[int, float, float, float]:
    """(value, precision, recall, F1) of the value of one attribute with the highest F1."""
    distinct, number = np.unique(found, return_inverse=True)
    precision = np.bincount(number) / n_rows[distinct + 1]
    recall = np.bincount(number, weights=values) / total
    f1 = np.where(distinct >= 0, 2 * precision * recall / np.maximum(precision + recall, 1e-30), -1.0)
    i = int(f1.argmax())
    return int(distinct[i]), float(precision[i]), float(recall[i]), float(f1[i])
