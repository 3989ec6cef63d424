"""Contenders turn by turn: each round times a unit of each, so that what slows the machine meanwhile slows all alike."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from saejax import console
from saejax.comparison.worker import Worker

_UNIT_SECONDS, _MOST_REPEATS = 0.25, 200


Seconds = dict[str, dict[str, list[float]]]


def measure(workers: Sequence[Worker], n_rounds: int, methods: Mapping[str, Sequence[str]]) -> Seconds:
    """Times every method of every worker in every round; odd rounds go through the workers backwards.

    Args:
      workers: prepared.
      n_rounds: of each.
      methods: {worker's name: its methods}; each returns its seconds. Short ones are repeated up to a quarter of a second.

    Returns:
      {worker's name: {method: seconds of a call in each round}}.
    """
    repeats = {(w.name, method): _repeats(w.seconds(method)) for w in workers for method in methods[w.name]}
    found: Seconds = {w.name: {method: [] for method in methods[w.name]} for w in workers}
    with console.progress("compare", n_rounds * len(workers), "turns") as advance:
        for turn in range(n_rounds):
            for worker in workers if turn % 2 == 0 else reversed(workers):
                for method in methods[worker.name]:
                    found[worker.name][method].append(worker.seconds(method, repeats[worker.name, method]))
                advance(1, worker.name)
    return found


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median, least and largest of a list."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratio(slower: Sequence[float], faster: Sequence[float]) -> dict[str, float]:
    """`summary` of the ratios, round by round."""
    return summary([a / b for a, b in zip(slower, faster)])


def speeds(
    seconds: Mapping[str, Sequence[float]], ours: str, *, operations: int, tokens: int, rate: float
) -> dict[str, dict[str, Any]]:
    """{contender: its times, speeds and how many times its time saejax's goes into it}.

    Args:
      seconds: {contender: seconds of a step or pass, in each round}.
      ours: saejax's name among them.
      operations: of a step or pass.
      tokens: of a step or pass.
      rate: the machine's matrix products, operations a second.
    """
    found = {}
    for name, values in seconds.items():
        median = statistics.median(values)
        found[name] = {
            "seconds": summary(values),
            "per_second": 1 / median,
            "tokens_per_second": tokens / median,
            "operations_per_second": operations / median,
            "share_of_matrix_rate": operations / median / rate,
            "time_over_saejax": ratio(values, seconds[ours]),
        }
    return found


def _repeats(seconds: float) -> int:
    return min(_MOST_REPEATS, max(1, math.ceil(_UNIT_SECONDS / max(seconds, 1e-6))))
