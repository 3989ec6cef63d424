"""Activations on disk: a TensorStore zarr3 array of bfloat16 rows, each chunk with its crc32c.

<directory>/rows/          [n_rows, D] bfloat16, in the order of the text
<directory>/addresses.npy  int64, each row's place in the stream of tokens (`lm.tokens.TokenWindows.trace`)
<directory>/progress.json  rows that are safely written, and the sums behind the statistics
"""

from __future__ import annotations

from collections.abc import Mapping
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
    in an order drawn from (seed, pass, group). So any step's rows follow from (seed, step), and disks are read in large pieces:
    those of the next group while this one is used.
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
        self._n_chunks = -(-self.n_rows // self._chunk)
        self._chunks_a_group = min(chunks_a_group, self._n_chunks)
        self._word = np.uint64 if self.width % 4 == 0 else np.uint16  # rows are moved in the largest words they are made of
        self._groups: dict[tuple[int, int], tuple[_Rows, np.ndarray]] = {}

    def batches(self, step: int, n_steps: int) -> np.ndarray:
        """The rows of steps `step` to `step + n_steps − 1`, bfloat16 [n_steps, B, D]."""
        start, end = step * self.batch_size, (step + n_steps) * self.batch_size
        rows_NxW = np.empty((end - start, 2 * self.width // self._word().itemsize), self._word)
        done = 0
        while done < end - start:
            epoch, offset = divmod(start + done, self.n_rows)
            group, place = self._find(epoch, offset)
            rows, order = self._group(epoch, group)
            chosen = order[place : place + end - start - done]
            np.take(rows.read(), chosen, axis=0, out=rows_NxW[done : done + len(chosen)], mode="clip")
            done += len(chosen)
        return rows_NxW.view(ml_dtypes.bfloat16).reshape(n_steps, self.batch_size, self.width)

    def first_rows(self, n: int) -> np.ndarray:
        """The store's first rows in the text's order, bfloat16 [n, D]."""
        return self._array[: min(n, self.n_rows)].read().result()

    def _chunk_order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng((self._seed, epoch)).permutation(self._n_chunks)

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

    def _group(self, epoch: int, group: int) -> tuple[_Rows, np.ndarray]:
        """A group's rows, and the order in which they are taken; the group that comes after it is being read."""
        if (epoch, group) not in self._groups:
            last = (group + 1) * self._chunks_a_group >= self._n_chunks
            kept, self._groups = self._groups, {}
            for key in ((epoch, group), (epoch + 1, 0) if last else (epoch, group + 1)):
                self._groups[key] = kept[key] if key in kept else self._ordered(*key, {**kept, **self._groups})
        return self._groups[epoch, group]

    def _ordered(self, epoch: int, group: int, others: Mapping) -> tuple[_Rows, np.ndarray]:
        first = group * self._chunks_a_group
        chunks = self._chunk_order(epoch)[first : first + self._chunks_a_group]
        there = [rows for rows, _ in others.values() if rows.chunks == frozenset(chunks.tolist())]
        rows = there[0] if there else _Rows(self._array, chunks, self._chunk, self._word)
        places = rows.places(chunks)
        order = np.random.default_rng((self._seed, epoch, group)).permutation(len(places))
        return rows, places[order]


class _Rows:
    """The rows of some chunks, in the text's order, which are being read as soon as this is made."""

    def __init__(self, array: ts.TensorStore, chunks: np.ndarray, chunk_rows: int, word: type):
        self.chunks = frozenset(chunks.tolist())
        n_rows, width = array.shape
        self._spans, end = {}, 0
        for chunk in sorted(self.chunks):
            size = min(chunk_rows, n_rows - chunk * chunk_rows)
            self._spans[chunk] = (end, end + size)
            end += size
        self._rows_NxD = np.empty((end, width), ml_dtypes.bfloat16)
        self._rows_NxW = self._rows_NxD.view(word)
        self._reading = []
        for chunk, (start, stop) in self._spans.items():
            first = chunk * chunk_rows
            target = ts.array(self._rows_NxD[start:stop], copy=False)
            self._reading.append(target.write(array[first : first + stop - start].translate_to[0]))

    def places(self, chunks: np.ndarray) -> np.ndarray:
        """The places of the chunks' rows, one chunk after the other in the order given."""
        return np.concatenate([np.arange(*self._spans[chunk]) for chunk in chunks.tolist()])

    def read(self) -> np.ndarray:
        """All rows, as words [N, W]."""
        while self._reading:
            self._reading.pop().result()
        return self._rows_NxW
