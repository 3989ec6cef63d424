"""`examples.parquet` → the examples of one latent after the other, as the latent's page wants them.

Read in batches of rows, never the whole file: the examples of 24,576 latents are far more than their page needs in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from saejax.interface.shards import rounded

ROWS_AT_ONCE = 8192
CHANGES_A_NAT = 10_000  # loss changes are kept as whole numbers of 1e-4 nats: short, and finer than they are measured
_LISTS = ("tokens", "activations", "loss_change", "fallen_tokens", "fallen_changes", "risen_tokens", "risen_changes")
_NUMBERS = ("latent", "interval", "document", "position", "address", "peak")


class Examples(NamedTuple):
    """Those of one latent.

    Attributes:
      columns: {name: a value an example}, as JSON; activations are [index, value, index, value, …] of those that are not 0.
      fires_on: the tokens at the peaks of the top interval, the most frequent first.
    """

    columns: dict[str, list]
    fires_on: list[int]


def by_latent(path: Path) -> Iterator[tuple[int, Examples]]:
    """(latent, its examples) of every latent that has any, in the file's order."""
    latent, rows = None, []
    for batch in pq.ParquetFile(path).iter_batches(ROWS_AT_ONCE):
        columns = {name: batch.column(name).to_numpy(zero_copy_only=False) for name in _NUMBERS}
        columns |= {name: _Lists(batch.column(name)) for name in _LISTS}
        columns["source"] = batch.column("source").to_pylist()
        for i, own in enumerate(columns["latent"].tolist()):
            if own != latent and rows:
                yield latent, _collect(rows)
                rows = []
            latent = own
            rows.append(_row(columns, i))
    if rows:
        yield latent, _collect(rows)


class _Lists:
    """A list column as one flat array and where each list starts."""

    def __init__(self, column: pa.ListArray):
        self._values = column.values.to_numpy(zero_copy_only=False)  # nulls become NaN
        self._offsets = column.offsets.to_numpy().tolist()

    def __getitem__(self, i: int) -> np.ndarray:
        return self._values[self._offsets[i] : self._offsets[i + 1]]


def _row(columns: dict, i: int) -> dict:
    activations = columns["activations"][i]
    active = np.flatnonzero(activations)
    pairs = [part for pair in zip(active.tolist(), rounded(activations[active])) for part in pair]
    changes = np.nan_to_num(columns["loss_change"][i].astype(np.float64) * CHANGES_A_NAT)
    return {
        "interval": int(columns["interval"][i]),
        "source": columns["source"][i] or "",
        "document": int(columns["document"][i]),
        "position": int(columns["position"][i]),
        "address": int(columns["address"][i]),
        "peak": int(columns["peak"][i]),
        "tokens": columns["tokens"][i].tolist(),
        "activations": pairs,
        "changes": np.round(changes).astype(np.int64).tolist(),
        "fallen": columns["fallen_tokens"][i].tolist(),
        "fallen_by": rounded(columns["fallen_changes"][i], 3),
        "risen": columns["risen_tokens"][i].tolist(),
        "risen_by": rounded(columns["risen_changes"][i], 3),
    }


def _collect(rows: list[dict]) -> Examples:
    top = [row for row in rows if row["interval"] == 0]
    counts = Counter(row["tokens"][row["peak"]] for row in top)
    return Examples({name: [row[name] for row in rows] for name in rows[0]}, [token for token, _ in counts.most_common(3)])
