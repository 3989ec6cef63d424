"""Automatic labels: the one rule about the text that says best where a latent fires.

Of a rule, say "the token is `dtype`", on rows:

    precision = rows of the rule on which the latent fires / rows of the rule
    recall    = its activation on rows of the rule / its activation on all rows

so that many weak activations do not drown what it is for. The rule with the highest F1 of the two is the label where that is
above `LEAST_F1`, and precision and recall are at least `LEAST_SHARE`; else there is none. Where it is much better, a rule names
up to five tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from saejax.features.attributes import Attribute

LEAST_F1, LEAST_SHARE = 0.5, 0.4
_COUNTED_FOR_EACH = 32
_MORE_SPECIAL, _SEVERAL = 0.02, 0.1  # in F1, that a later attribute, or several values in place of one, must bring
_MOST_TOGETHER = 5


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
        if not len(rows):
            return NO_RULE
        shares = [_shares(a.value_N[rows], values, n_rows) for a, n_rows in zip(self._attributes, self._n_rows)]
        best = NO_RULE
        for make, better in ((_single, _MORE_SPECIAL), (_several, _SEVERAL)):
            for attribute, own in zip(self._attributes, shares):
                rule = make(attribute, own)
                enough = _f1(*rule[2:]) > (_f1(*best[2:]) + better if best.label else LEAST_F1)
                best = rule if enough and min(rule[2:]) >= LEAST_SHARE else best
        return best


class _Shares(NamedTuple):
    """Of each value of one attribute on which a latent fires, the largest recall first.

    Attributes:
      values: int. n_fired, n_rows: rows of the value on which it fires; rows of the value. recall: as above.
    """

    values: np.ndarray
    n_fired: np.ndarray
    n_rows: np.ndarray
    recall: np.ndarray


def _single(attribute: Attribute, shares: _Shares) -> Rule:
    """The best rule of one value."""
    if not len(shares.values):
        return NO_RULE
    precision = shares.n_fired / shares.n_rows
    i = int(np.argmax(_f1(precision, shares.recall)))
    label = f"{attribute.phrase} {attribute.describe(int(shares.values[i]))}".strip()
    return Rule(label, attribute.kind, float(precision[i]), float(shares.recall[i]))


def _several(attribute: Attribute, shares: _Shares) -> Rule:
    """The best rule of some of the values with the largest recall, among those on which it fires half of the time."""
    some = np.flatnonzero(shares.n_fired >= shares.n_rows / 2)[:_MOST_TOGETHER]
    if not attribute.phrase or len(some) < 2:
        return NO_RULE
    n_fired, n_rows, recall = (np.cumsum(column[some]) for column in shares[1:])
    i = 1 + int(np.argmax(_f1(n_fired / n_rows, recall)[1:]))
    names = [attribute.describe(int(value)) for value in shares.values[some[: i + 1]]]
    label = f"{attribute.phrase} {', '.join(names[:-1])} or {names[-1]}"
    return Rule(label, attribute.kind, float(n_fired[i] / n_rows[i]), float(recall[i]))


def _shares(found: np.ndarray, values: np.ndarray, n_rows: np.ndarray) -> _Shares:
    if len(n_rows) < _COUNTED_FOR_EACH * len(found):  # counting all values is faster than sorting those that are found
        distinct, number = np.arange(-1, len(n_rows) - 1), found + 1
    else:
        distinct, number = np.unique(found, return_inverse=True)
    n_fired = np.bincount(number, minlength=len(distinct))
    recall = np.bincount(number, weights=values, minlength=len(distinct)) / values.sum(dtype=np.float64)
    there = np.flatnonzero((distinct >= 0) & (n_fired > 0))
    there = there[np.argsort(-recall[there], kind="stable")]
    return _Shares(distinct[there], n_fired[there], n_rows[distinct[there] + 1], recall[there])


def _f1(precision, recall):
    return 2 * precision * recall / np.maximum(precision + recall, 1e-30)
