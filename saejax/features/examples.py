"""Which stretches of text are shown of a latent: its strongest, and a random sample of each part of its range. Pure.

The strongest are the best position of each window, in order; a text that was shown already (documentation repeats itself) is
passed over. A sample is drawn by hashing (seed, latent, address): which rows are in it does not depend on how text is cut.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from saejax.features.statistics import intervals_of
from saejax.features.text import Text

_SAME_TOKENS = 8  # stretches whose peaks end the same so many tokens are the same text
_TRIED_FOR_EACH = 32  # candidates looked at for each example that is wanted


class Choice(NamedTuple):
    """Which examples are wanted.

    Attributes:
      n_top: strongest.
      n_intervals, n_of_interval: parts of the range; examples of each.
      before, after: tokens about the peak.
      seed: of the samples.
    """

    n_top: int
    n_intervals: int
    n_of_interval: int
    before: int
    after: int
    seed: int


class Chosen(NamedTuple):
    """One example: its interval (0: top), its rank there, the address of its peak, and its stretch [first, end)."""

    interval: int
    rank: int
    address: int
    first: int
    end: int


def choose(latent: int, rows: np.ndarray, values: np.ndarray, text: Text, choice: Choice) -> list[Chosen]:
    """A latent's examples, in order of (interval, rank).

    Args:
      latent: its number.
      rows, values: where it is active, rising, and how much.
      text: the text.
      choice: which are wanted.
    """
    if not len(rows):
        return []
    seen: set[bytes] = set()
    found = {0: _distinct(rows[_strongest(rows, values, text.windows.context_size)], choice.n_top, text, seen)}
    interval = intervals_of(values, choice.n_intervals)
    order = np.argsort(_hashed(rows, latent, choice.seed), kind="stable")
    for q in range(1, choice.n_intervals + 1):
        found[q] = _distinct(rows[order[interval[order] == q]], choice.n_of_interval, text, seen)
    return [
        Chosen(q, rank, address, *text.stretch(address, choice.before, choice.after))
        for q, addresses in found.items()
        for rank, address in enumerate(addresses)
    ]


def activations(chosen: Chosen, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The latent's activations along a stretch, float32."""
    shown = np.zeros(chosen.end - chosen.first, np.float32)
    low, high = np.searchsorted(rows, [chosen.first, chosen.end])
    shown[rows[low:high] - chosen.first] = values[low:high]
    return shown


def _strongest(rows: np.ndarray, values: np.ndarray, L: int) -> np.ndarray:
    """Places in `rows` of each window's largest value, the largest of all first; among equals the earlier."""
    order = np.lexsort((rows, -values))
    _, first = np.unique(rows[order] // L, return_index=True)
    return order[np.sort(first)]


def _distinct(candidates: np.ndarray, n: int, text: Text, seen: set[bytes]) -> list[int]:
    """The first n addresses whose text has not been seen; what is taken is added to `seen`."""
    found: list[int] = []
    for address in candidates[: n * _TRIED_FOR_EACH].tolist():
        if len(found) == n:
            break
        first, _ = text.stretch(address, _SAME_TOKENS - 1, 0)
        own = text.tokens[first : address + 1].tobytes()
        if own not in seen:
            seen.add(own)
            found.append(address)
    return found


def _hashed(rows: np.ndarray, latent: int, seed: int) -> np.ndarray:
    """uint64 [n], as if random. Source: splitmix64 (Steele, Lea & Flood 2014), its finalizer."""
    mask = (1 << 64) - 1
    start = ((seed << 32) + latent + 1) * 0x9E3779B97F4A7C15 & mask
    x = (rows.astype(np.uint64) + np.uint64(1)) * np.uint64(0xBF58476D1CE4E5B9) ^ np.uint64(start)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    return x ^ (x >> np.uint64(31))
