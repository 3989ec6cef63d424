"""Seconds and bytes of a piece of work, measured on this machine."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from saejax import machine

WRITTEN_BYTES = 64 * 2**20


class Measured(NamedTuple):
    """A piece of work, done once.

    Attributes:
      result: what it gave.
      seconds: it took.
      held_bytes: what the process held before.
      peak_bytes: the most that it held meanwhile.
    """

    result: Any
    seconds: float
    held_bytes: int
    peak_bytes: int

    @property
    def rise_bytes(self) -> int:
        """By how much the process's memory rose."""
        return max(0, self.peak_bytes - self.held_bytes)


def once(work: Callable[[], Any]) -> Measured:
    """Does some work once, waiting for the device."""
    machine.reset_peak_memory()
    held, start = machine.resident_memory_bytes(), time.monotonic()
    result = jax.block_until_ready(work())
    return Measured(result, time.monotonic() - start, held, machine.peak_memory_bytes())


def repeated(work: Callable[[], Any], *, budget_seconds: float, most: int = 100) -> float:
    """Mean seconds of some work, done again and again until the budget is spent: at least twice, the first not counted.

    The mean and not the least, since the run will meet the same disturbances.
    """
    jax.block_until_ready(work())
    start, n = time.monotonic(), 0
    while n == 0 or (n < most and time.monotonic() - start < budget_seconds):
        jax.block_until_ready(work())
        n += 1
    return (time.monotonic() - start) / n


def operations_per_second(n_rows: int, d_in: int, d_out: int, dtype: Any, budget_seconds: float = 0.3) -> float:
    """The rate of a matrix product [rows, d_in] · [d_in, d_out] as XLA does it, on a part of it where it is large."""
    n_rows, d_out = min(n_rows, 256), min(d_out, 4096)
    x, w = jnp.ones((n_rows, d_in), dtype), jnp.ones((d_in, d_out), dtype)
    product = jax.jit(lambda x, w: x @ w)
    return 2 * n_rows * d_in * d_out / repeated(lambda: product(x, w), budget_seconds=budget_seconds)


def write_rate(folder: Path) -> float:
    """Bytes a second written to a folder's disk and made durable, by a file that is removed."""
    data = np.random.default_rng(0).bytes(2**20)
    with tempfile.TemporaryFile(dir=folder) as file:
        start = time.monotonic()
        for _ in range(WRITTEN_BYTES // len(data)):
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
        return WRITTEN_BYTES / (time.monotonic() - start)
