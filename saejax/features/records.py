"""The records of one autoencoder's latents: `features/<member>/`, four files, readable with pandas.

  meta.json          what was looked at, and how: `Meta`
  latents.parquet    one row a latent, in order: `Latent`
  examples.parquet   one row a stretch of text, in order of (latent, interval, rank): `Example`
  steering.parquet   one row a continuation, in order of (latent, strength): `Steered`
  vocabulary.json    how each token is shown: `Vocabulary`

A folder is written under another name and renamed (`whole`), so that one that is there is complete. A latent that never fires
has its row, with empty lists where activity is needed. Token text is data: it may hold any character, markup and control ones
too.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from saejax import files
from saejax.errors import InputError
from saejax.features.schemas import EXAMPLES, LATENTS, STEERING, Example, Latent, Meta, Steered

LATENTS_FILE, EXAMPLES_FILE, STEERING_FILE = "latents.parquet", "examples.parquet", "steering.parquet"
META_FILE, VOCABULARY_FILE = "meta.json", "vocabulary.json"
_ROWS_AT_ONCE = 4096  # in a row group, which is what is in memory while writing and reading


class Vocabulary(NamedTuple):
    """How tokens are shown, by their number.

    Attributes:
      text: of each token; bytes that are no UTF-8 by themselves (half a character) as \\xNN.
      escaped: whether the text is such an escape, or stands for a number that the tokenizer does not use.
    """

    text: list[str]
    escaped: list[bool]


def members(features: Path) -> list[str]:
    """The names of the members whose records are there, in alphabetical order."""
    if not features.is_dir():
        return []
    return sorted(path.name for path in features.iterdir() if not path.name.startswith(".") and (path / META_FILE).is_file())


@contextlib.contextmanager
def whole(directory: Path) -> Iterator[Path]:
    """Yields a folder beside `directory` to write into; it takes that name at the end, and is begun anew after a kill."""
    partial = directory.with_name(f".{directory.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    shutil.rmtree(directory, ignore_errors=True)
    partial.rename(directory)


def write_meta(directory: Path, meta: Meta) -> None:
    """Writes `meta.json`."""
    files.write_json(directory / META_FILE, meta._asdict())


def read_meta(directory: Path) -> Meta:
    """Reads `meta.json`.

    Raises:
      InputError: no such records, or records of another version of saejax.
    """
    path = directory / META_FILE
    if not path.is_file():
        raise InputError(f"{path}: no such file; run --tasks=features first")
    found = files.read_json(path)
    if found.keys() != set(Meta._fields):
        raise InputError(
            f"{path}: not the records of this version of saejax; remove {directory} and run --tasks=features again"
        )
    return Meta(**found)


def write_vocabulary(directory: Path, vocabulary: Vocabulary) -> None:
    """Writes `vocabulary.json`."""
    files.write_json(directory / VOCABULARY_FILE, vocabulary._asdict())


def read_vocabulary(directory: Path) -> Vocabulary:
    """Reads `vocabulary.json`."""
    return Vocabulary(**files.read_json(directory / VOCABULARY_FILE))


def write_latents(directory: Path, latents: Iterable[Latent]) -> None:
    """Writes `latents.parquet`; latents come in order, and are not kept."""
    _write(directory / LATENTS_FILE, LATENTS, latents)


def read_latents(directory: Path) -> Iterator[Latent]:
    """The latents in order."""
    return _rows(directory / LATENTS_FILE, Latent)


def write_examples(directory: Path, examples: Iterable[Example]) -> None:
    """Writes `examples.parquet`; examples come in order of (latent, interval, rank), and are not kept."""
    _write(directory / EXAMPLES_FILE, EXAMPLES, examples)


def read_examples(directory: Path) -> Iterator[Example]:
    """The examples in order of (latent, interval, rank)."""
    return _rows(directory / EXAMPLES_FILE, Example)


def write_steering(directory: Path, steered: Iterable[Steered]) -> None:
    """Writes `steering.parquet`; continuations come in order of (latent, strength)."""
    _write(directory / STEERING_FILE, STEERING, steered)


def read_steering(directory: Path) -> Iterator[Steered]:
    """The continuations in order of (latent, strength)."""
    return _rows(directory / STEERING_FILE, Steered)


def by_latent(rows: Iterable[Any]) -> Iterator[tuple[int, list[Any]]]:
    """(latent, its rows) of rows in order of latent; latents without a row are left out."""
    for latent, own in itertools.groupby(rows, key=lambda row: row.latent):
        yield latent, list(own)


def of_latent(directory: Path, latent: int) -> tuple[Latent, list[Example], list[Steered]]:
    """All that is kept of one latent, reading little more of the files than that.

    Raises:
      InputError: no such latent.
    """
    kinds = ((LATENTS_FILE, Latent), (EXAMPLES_FILE, Example), (STEERING_FILE, Steered))
    tables = [pq.read_table(directory / name, filters=[("latent", "==", latent)]) for name, _ in kinds]
    found = [[kind(**row) for row in table.to_pylist()] for table, (_, kind) in zip(tables, kinds)]
    if not found[0]:
        raise InputError(f"{directory}: latent {latent} is not there; give one from 0 to {read_meta(directory).d_sae - 1}")
    return found[0][0], found[1], found[2]


def _write(path: Path, schema: pa.Schema, rows: Iterable[Any]) -> None:
    rows = iter(rows)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while some := list(itertools.islice(rows, _ROWS_AT_ONCE)):
            columns = {name: pa.array(column, schema.field(name).type) for name, column in zip(schema.names, zip(*some))}
            writer.write_table(pa.table(columns, schema=schema))


def _rows(path: Path, kind: type) -> Iterator[Any]:
    if not path.is_file():
        raise InputError(f"{path}: no such file; run --tasks=features first")
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_ROWS_AT_ONCE):
            yield from (kind(**row) for row in batch.to_pylist())
