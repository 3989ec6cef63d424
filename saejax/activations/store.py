"""Activations on disk: a TensorStore zarr3 array of bfloat16 rows, each chunk with its crc32c.

<directory>/rows/          [n_rows, D] bfloat16, in the order of the text
<directory>/addresses.npy  int64, each row's place in the stream of tokens (`lm.tokens.TokenWindows.trace`)
<directory>/progress.json  rows that are safely written, and the sums behind the statistics
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import ml_dtypes
import numpy as np
import tensorstore as ts

from saejax import files
from saejax.errors import InputError

CHUNK_BYTES = 4 * 2**20
CHUNKS_A_GROUP = 64  # that are shuffled together
_WRITES_IN_FLIGHT = 4


class Statistics(NamedTuple):
    """Of all rows, for normalisation.

    Attributes:
      mean_D: float64, the mean row.
      mean_norm: mean Euclidean norm of a row.
    """

    mean_D: np.ndarray
    mean_norm: float


def rows_per_chunk(widest: int) -> int:
    """Rows of a chunk of at most 4 MB, where the widest site has so many dimensions.

    Sites of one run have chunks of as many rows, so that their rows are shuffled alike: a transcoder reads two of them.
    """
    return max(1, CHUNK_BYTES // (2 * widest))


def _open(directory: Path, **spec) -> ts.TensorStore:
    where = {
        "driver": "zarr3",
        "store_data_equal_to_fill_value": True,
        "fill_missing_data_reads": False,
        "kvstore": {"driver": "file", "path": str((directory / "rows").resolve()) + "/"},
    }
    return ts.open({**where, **spec}).result()


class StoreWriter:
    """Appends rows in order; what `n_done` counts survives any kill.

    Whole chunks only are written, and counted once they are on disk, so a resumed writer goes on at a chunk's edge:
    the caller appends from row `n_done_at_open`.
    """

    def __init__(self, directory: Path, addresses: np.ndarray, width: int, chunk_rows: int | None = None):
        """Opens or makes the store.

        Args:
          directory: its folder.
          addresses: int64 [n_rows], of every row that will be written.
          width: D.
          chunk_rows: rows of a chunk; None for `rows_per_chunk(width)`.
        """
        self._directory = directory
        self.n_rows, self.width = len(addresses), width
        self._chunk = chunk_rows or rows_per_chunk(width)
        directory.mkdir(parents=True, exist_ok=True)
        if not (directory / "progress.json").exists():
            np.save(directory / "addresses.npy", addresses)
            self._sums = {"n_done": 0, "sum_D": [0.0] * width, "sum_norm": 0.0}
        else:
            self._sums = files.read_json(directory / "progress.json")
        metadata = {
            "shape": [self.n_rows, width],
            "data_type": "bfloat16",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [self._chunk, width]}},
            "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
        }
        self._array = _open(directory, metadata=metadata, create=True, open=True)
        self._buffer: list[np.ndarray] = []
        self._n_buffered = 0
        self._writing: list[tuple[ts.Future, np.ndarray]] = []
        self.n_done_at_open = self._n_started = self.n_done
        self._save_progress()

    @property
    def n_done(self) -> int:
        """Rows that are safely on disk."""
        return self._sums["n_done"]

    def append(self, rows_NxD: np.ndarray) -> None:
        """Takes the next rows, bfloat16; writes when there is a chunk of them."""
        self._buffer.append(rows_NxD)
        self._n_buffered += len(rows_NxD)
        while self._n_buffered >= self._chunk or (self._n_buffered and self._n_started + self._n_buffered == self.n_rows):
            joined = np.concatenate(self._buffer)
            chunk, rest = joined[: self._chunk], joined[self._chunk :]
            self._buffer, self._n_buffered = [rest], len(rest)
            end = self._n_started + len(chunk)
            self._writing.append((self._array[self._n_started : end].write(chunk), chunk))
            self._n_started = end
            if len(self._writing) >= _WRITES_IN_FLIGHT:
                self._finish_one()

    def close(self) -> None:
        """Waits for the last chunks."""
        while self._writing:
            self._finish_one()

    def _finish_one(self) -> None:
        future, chunk = self._writing.pop(0)
        future.result()
        rows = chunk.astype(np.float32)
        if not np.isfinite(rows).all():
            raise InputError(
                f"{self._directory}: activations that are not finite among rows {self.n_done:,} and on; "
                "the language model's weights or its --dtype are at fault"
            )
        sums = self._sums
        self._sums = {
            "n_done": sums["n_done"] + len(rows),
            "sum_D": (np.asarray(sums["sum_D"]) + rows.sum(0, dtype=np.float64)).tolist(),
            "sum_norm": sums["sum_norm"] + float(np.linalg.norm(rows, axis=1).sum(dtype=np.float64)),
        }
        self._save_progress()

    def _save_progress(self) -> None:
        files.write_json(self._directory / "progress.json", self._sums)


class StoredActivations:
    """An `ActivationSource` that reads a store, shuffled within a buffer of many chunks.

    A pass over the rows takes the chunks in an order drawn from (seed, pass), groups of them into memory, and a group's rows
    in an order drawn from (seed, pass, group). So any step's rows follow from (seed, step), and disks are read in large pieces.
    """

    def __init__(self, directory: Path, *, batch_size: int, seed: int, chunks_a_group: int = CHUNKS_A_GROUP):
        """Opens a complete store.

        Args:
          directory: its folder.
          batch_size: B.
          seed: of the shuffling.
          chunks_a_group: chunks that are shuffled together, of at most 4 MB each.

        Raises:
          InputError: a store that is absent or incomplete.
        """
        if not (directory / "progress.json").exists():
            raise InputError(f"--workdir: no activations in {directory}; run --tasks=extract first")
        progress = files.read_json(directory / "progress.json")
        self._array = _open(directory, open=True)
        self.n_rows, self.width = self._array.shape
        if progress["n_done"] != self.n_rows:
            raise InputError(
                f"{directory}: {progress['n_done']:,} of {self.n_rows:,} rows are written; run --tasks=extract again to finish"
            )
        self.statistics = Statistics(np.asarray(progress["sum_D"]) / self.n_rows, progress["sum_norm"] / self.n_rows)
        self.batch_size, self._seed = batch_size, seed
        self._chunk = self._array.chunk_layout.read_chunk.shape[0]
        self._chunks_a_group = chunks_a_group
        self._groups: dict[tuple[int, int], np.ndarray] = {}

    def batches(self, step: int, n_steps: int) -> np.ndarray:
        """The rows of steps `step` to `step + n_steps − 1`, bfloat16 [n_steps, B, D]."""
        start, n = step * self.batch_size, n_steps * self.batch_size
        pieces = []
        while n:
            epoch, offset = divmod(start, self.n_rows)
            group, place = self._find(epoch, offset)
            piece = self._group(epoch, group)[place : place + n]
            pieces.append(piece)
            start, n = start + len(piece), n - len(piece)
        return np.concatenate(pieces).reshape(n_steps, self.batch_size, self.width)

    def first_rows(self, n: int) -> np.ndarray:
        """The store's first rows in the text's order, bfloat16 [n, D]."""
        return self._array[: min(n, self.n_rows)].read().result()

    def _chunk_order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng((self._seed, epoch)).permutation(-(-self.n_rows // self._chunk))

    def _find(self, epoch: int, offset: int) -> tuple[int, int]:
        """The group of a pass that holds its `offset`-th row, and the row's place there."""
        order = self._chunk_order(epoch)
        sizes = np.minimum(self._chunk, self.n_rows - order * self._chunk)
        for group, first in enumerate(range(0, len(order), self._chunks_a_group)):
            size = int(sizes[first : first + self._chunks_a_group].sum())
            if offset < size:
                return group, offset
            offset -= size
        raise AssertionError("an offset beyond the pass")

    def _group(self, epoch: int, group: int) -> np.ndarray:
        """A group's rows, in their shuffled order."""
        if (epoch, group) not in self._groups:
            first = group * self._chunks_a_group
            chunks = self._chunk_order(epoch)[first : first + self._chunks_a_group]
            self._groups.clear()
            reads = [self._array[c * self._chunk : min((c + 1) * self._chunk, self.n_rows)].read() for c in chunks.tolist()]
            rows_NxD = np.concatenate([read.result() for read in reads])
            order = np.random.default_rng((self._seed, epoch, group)).permutation(len(rows_NxD))
            self._groups[epoch, group] = np.take(rows_NxD.view(np.uint16), order, axis=0).view(ml_dtypes.bfloat16)
        return self._groups[epoch, group]
