"""`latents.parquet` → the columns that the table of latents searches, and what each latent's page shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from saejax.features.records import LATENTS_FILE
from saejax.interface import shards

N_BOOSTED = 3  # in the table: the page has all
ROWS_AT_ONCE = 1024
_INTEGERS = (
    *("latent", "n_active", "cluster", "histogram_counts", "logit_counts", "boosted_tokens", "suppressed_tokens"),
    *("similar_latents", "correlated_latents", "correlated_neurons", "aligned_neurons"),
)
_NUMBERS = (
    *("density", "max_activation", "mean_activation", "decoder_norm", "encoder_norm", "encoder_decoder_cosine", "bias"),
    *("label_precision", "label_recall", "quantiles", "interval_shares", "histogram_edges", "logit_edges", "boosted_logits"),
    *("suppressed_logits", "similar_cosines", "correlated_latent_r", "correlated_neuron_r", "aligned_neuron_cosines"),
)
_TEXTS = ("label", "label_kind")


def pages(directory: Path) -> Iterator[dict[str, Any]]:
    """What the page of each latent of `features/<member>/` shows of its own row, in order."""
    names = [*_INTEGERS, *_NUMBERS, *_TEXTS]
    for batch in pq.ParquetFile(directory / LATENTS_FILE).iter_batches(ROWS_AT_ONCE, columns=names):
        columns = {name: batch.column(name).to_pylist() for name in (*_INTEGERS, *_TEXTS)}
        columns |= {name: _numbers(batch.column(name)) for name in _NUMBERS}
        for i in range(batch.num_rows):
            yield {name: columns[name][i] for name in names}


def index(directory: Path, fires_on: Sequence[Sequence[int]]) -> Iterator[dict[str, list]]:
    """Columns of the table and of the map, for one stretch of latents after the other.

    Args:
      directory: `features/<member>/`.
      fires_on: for every latent, tokens at the peaks of its top examples.
    """
    names = ["density", "max_activation", "label", "cluster", "x", "y", "boosted_tokens"]
    table = pq.read_table(directory / LATENTS_FILE, columns=names)
    for start in range(0, len(table), ROWS_AT_ONCE):
        part = table.slice(start, ROWS_AT_ONCE).combine_chunks()
        numbers = {name: shards.rounded(part.column(name)) for name in ("density", "max_activation", "x", "y")}
        yield {
            "density": numbers["density"],
            "max": numbers["max_activation"],
            "label": [label or "" for label in part.column("label").to_pylist()],
            "cluster": part.column("cluster").to_pylist(),
            "x": numbers["x"],
            "y": numbers["y"],
            "fires": [list(tokens) for tokens in fires_on[start : start + len(part)]],
            "boosted": [(tokens or [])[:N_BOOSTED] for tokens in part.column("boosted_tokens").to_pylist()],
        }


def _numbers(column: pa.Array) -> list:
    """A column of numbers, or of lists of them, to a few significant digits."""
    if not pa.types.is_list(column.type):
        return shards.rounded(column.to_numpy(zero_copy_only=False))
    values = shards.rounded(column.values.to_numpy(zero_copy_only=False))
    offsets = column.offsets.to_pylist()
    return [values[start:stop] for start, stop in zip(offsets, offsets[1:])]
