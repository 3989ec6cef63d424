"""How fast GPT-2's activations are made and written, and how fast rows are read back: a few batches, in a folder that goes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from saejax.activations.harvest import harvest
from saejax.activations.store import StoredActivations, StoreWriter, rows_per_chunk
from saejax.lm import gpt2
from saejax.planning import measure

STORE_BYTES = 64 * 2**20
MOST_BATCHES = 200


class Harvesting(NamedTuple):
    """Attributes:
    first_seconds: of compilation and the first batch.
    token_seconds: of each token then, forward pass, writing and all.
    """

    first_seconds: float
    token_seconds: float


class Store(NamedTuple):
    """Attributes:
    write_seconds, read_seconds: a byte of rows.
    group_rise: bytes of memory that reading a group of rows takes, a byte of rows.
    """

    write_seconds: float
    read_seconds: float
    group_rise: float


def harvesting(
    params: gpt2.Params,
    tokens_NxL: np.ndarray,
    keep_NxL: np.ndarray,
    *,
    config: gpt2.GPT2Config,
    widths: Mapping[str, int],
    dtype: Any,
    batch_windows: int,
    folder: Path | None,
    budget_seconds: float,
) -> Harvesting:
    """Runs `harvest` on windows that are there, again and again.

    Args:
      params, config: the GPT-2.
      tokens_NxL, keep_NxL: windows, and the positions whose rows are kept.
      widths: {site: its width}.
      dtype: of the GPT-2's activations.
      batch_windows: windows in a batch.
      folder: where rows are written; None to leave them.
      budget_seconds: after the first batch.
    """
    order = np.resize(np.arange(len(tokens_NxL)), batch_windows * MOST_BATCHES)
    keep_NxL = keep_NxL[order]
    addresses, chunk = np.flatnonzero(keep_NxL), rows_per_chunk(max(widths.values()))
    writers = {h: StoreWriter(folder / h, addresses, width, chunk) for h, width in widths.items()} if folder else {}
    batches = harvest(params, tokens_NxL[order], config=config, sites=tuple(widths), dtype=dtype, batch_windows=batch_windows)
    begun = time.monotonic()
    n = first = 0
    for n, rows in enumerate(batches):
        for hook, writer in writers.items():
            writer.append(rows[hook][keep_NxL[n * batch_windows : (n + 1) * batch_windows]])
        if not n:
            first = time.monotonic()
        elif time.monotonic() - first > budget_seconds:
            break
    for writer in writers.values():
        writer.close()
    return Harvesting(first - begun, (time.monotonic() - first) / (n * batch_windows * tokens_NxL.shape[1]))


def store(folder: Path, width: int, batch_size: int) -> Store:
    """Writes and reads some rows."""
    rows = np.random.default_rng(0).standard_normal((STORE_BYTES // (2 * width), width), np.float32).astype(ml_dtypes.bfloat16)
    start = time.monotonic()
    writer = StoreWriter(folder, np.arange(len(rows)), width)
    writer.append(rows)
    writer.close()
    written = time.monotonic() - start
    reading = measure.once(lambda: StoredActivations(folder, batch_size=min(batch_size, len(rows)), seed=0).batches(0, 1))
    return Store(written / rows.nbytes, reading.seconds / rows.nbytes, reading.rise_bytes / rows.nbytes)
