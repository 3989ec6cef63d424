"""Rows read shuffled from the store against the file system's sequential read, and how long training waits for them."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from saejax.comparison import rounds
from saejax.comparison.training import plan_of
from saejax.comparison.worker import Worker
from saejax.training.grid import Group
from saejax.training.step import StepOptions

_ABSENT = "--compare=store: pip install saejax"


def compare(
    directory: Path, group: Group, options: StepOptions, *, batch_size: int, seed: int, n_steps: int, n_rounds: int
) -> dict[str, Any]:
    """Measures a store: {`sizes`, `cold`, `cached`, `training`}.

    `cold` drops the files from the kernel's cache before each reading, where it can be asked to; storage under it may keep
    its own. In each, `share_of_sequential` is the bytes a second of shuffled rows over those of sequential reading. In
    `training`, `waiting` is 1 less the time with rows in memory over the time with rows from the store, round by round; noise
    may make it negative.

    Args:
      directory: of the store.
      group: what is trained.
      options: of its step.
      batch_size: B.
      seed: of the shuffling.
      n_steps: of the training that may wait.
      n_rounds: turns.
    """
    plan = {"directory": str(directory), "batch_size": batch_size, "seed": seed, "n_steps": n_steps}
    found: dict[str, Any] = {}
    with ExitStack() as stack:
        reading = Worker("reading", "saejax.comparison.store_reading:Reading", plan, absent=_ABSENT)
        stack.callback(reading.close)
        sizes = reading.call("sizes")
        dropped = reading.call("forget")
        modes = {"cached": ("shuffled", "sequential"), **({"cold": ("shuffled_cold", "sequential_cold")} if dropped else {})}
        for mode, methods in modes.items():
            seconds = rounds.measure([reading], n_rounds, {"reading": methods})["reading"]
            shuffled, sequential = (seconds[method] for method in methods)
            rows = sizes["rows"] // batch_size * batch_size
            row_bytes = rows * sizes["row_bytes"]
            found[mode] = {
                "shuffled_bytes_per_second": rounds.summary([row_bytes / s for s in shuffled]),
                "shuffled_rows_per_second": rounds.summary([rows / s for s in shuffled]),
                "sequential_bytes_per_second": rounds.summary([sizes["file_bytes"] / s for s in sequential]),
                "share_of_sequential": rounds.summary(
                    [row_bytes / a / (sizes["file_bytes"] / b) for a, b in zip(shuffled, sequential)]
                ),
            }
        trained = {**plan, **plan_of(group, options, "", False)}
        training = Worker("training", "saejax.comparison.store_reading:Training", trained, absent=_ABSENT)
        stack.callback(training.close)
        seconds = rounds.measure([training], n_rounds, {"training": ("stored", "in_memory")})["training"]
        waiting = [1 - memory / stored for stored, memory in zip(seconds["stored"], seconds["in_memory"])]
        found["training"] = {
            "steps": n_steps,
            "stored_seconds": rounds.summary(seconds["stored"]),
            "in_memory_seconds": rounds.summary(seconds["in_memory"]),
            "waiting": rounds.summary(waiting),
        }
    return {"sizes": sizes, **found}
