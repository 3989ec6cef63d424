"""`examples.parquet` → the examples of one latent after the other, as the latent's page wants them.

Read in batches of rows, never the whole file: the examples of 24,576 latents are far more than their page needs in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from saejax.features.records import EXAMPLES_FILE
from saejax.interface import shards

ROWS_AT_ONCE = 8192
CHANGES_A_NAT = 10_000  # loss changes are kept as whole numbers of 1e-4 nats: short, and finer than they are measured
_NUMBERS = ("latent", "interval", "document", "position", "address", "peak")


class Examples(NamedTuple):
    """Those of one latent.

    Attributes:
      columns: {name: a value an example}, as JSON; activations are [index, value, index, value, …] of those that are not 0,
        changes of loss are None where there is none.
      fires_on: the tokens at the peaks of the top interval, the most frequent first.
    """

    columns: dict[str, list]
    fires_on: list[int]


def by_latent(directory: Path) -> Iterator[tuple[int, Examples]]:
    """(latent, its examples) of every latent of `features/<member>/` that has any, in order."""
    latent, rows = None, []
    for batch in pq.ParquetFile(directory / EXAMPLES_FILE).iter_batches(ROWS_AT_ONCE):
        columns = _columns(batch)
        names = [name for name in columns if name != "latent"]
        for i, own in enumerate(columns["latent"]):
            if own != latent and rows:
                yield latent, _collect(rows)
                rows = []
            latent = own
            rows.append({name: columns[name][i] for name in names})
    if rows:
        yield latent, _collect(rows)


def _columns(batch: pa.RecordBatch) -> dict[str, list]:
    """A value an example of every column, numbers as short as they are shown: whole columns at once, which is what is fast."""
    columns = {name: batch.column(name).to_pylist() for name in (*_NUMBERS, "source")}
    columns["tokens"] = _lists(batch, "tokens", np.ndarray.tolist)
    activations = _lists(batch, "activations", shards.rounded)
    columns["activations"] = [[part for pair in enumerate(row) if pair[1] for part in pair] for row in activations]
    columns["changes"] = _lists(batch, "loss_change", _changes)
    for name, tokens, by in (("fallen", "fallen_tokens", "fallen_changes"), ("risen", "risen_tokens", "risen_changes")):
        columns[name] = _lists(batch, tokens, np.ndarray.tolist)
        columns[f"{name}_by"] = _lists(batch, by, lambda values: shards.rounded(values, 3))
    return columns


def _lists(batch: pa.RecordBatch, name: str, convert: Callable[[np.ndarray], list]) -> list[list]:
    column = batch.column(name)
    offsets = column.offsets.to_pylist()
    values = convert(column.values.to_numpy(zero_copy_only=False))  # nulls become NaN
    return [values[start:stop] for start, stop in zip(offsets, offsets[1:])]


def _changes(nats: np.ndarray) -> list:
    known = np.isfinite(nats)
    whole = np.round(np.where(known, nats, 0.0).astype(np.float64) * CHANGES_A_NAT).astype(np.int64)
    return whole.tolist() if known.all() else np.where(known, whole.astype(object), None).tolist()


def _collect(rows: list[dict]) -> Examples:
    top = [row for row in rows if row["interval"] == 0]
    counts = Counter(row["tokens"][row["peak"]] for row in top)
    return Examples({name: [row[name] for row in rows] for name in rows[0]}, [token for token, _ in counts.most_common(3)])
