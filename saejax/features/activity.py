"""Which latents were active where, and how much: sparse, on disk, by latent.

Text comes in batches of rows, and what is wanted of a latent is all of its active rows. So entries are gathered in memory, up
to `_RUN_ENTRIES` of them, turned by latent and written as a run; a latent's rows are its parts of all runs, one after another.
8 bytes an active latent: 1M rows with 32 of them take 256 MB of disk, and no array [rows, F] is ever made.

A row's number is its address in the stream of tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import sparse

_RUN_ENTRIES = 2**24  # 128 MiB of rows and values


class _Run(NamedTuple):
    """A stretch of text: entries of latent f are indptr[f] to indptr[f + 1] of rows (int32 [n]) and values (float32 [n])."""

    indptr: np.ndarray
    rows: np.ndarray
    values: np.ndarray


class ActivityWriter:
    """Takes batches in the order of the text."""

    def __init__(self, directory: Path, d_sae: int, run_entries: int = _RUN_ENTRIES):
        self._directory, self._d_sae, self._run_entries = directory, d_sae, run_entries
        self._batches: list[sparse.csr_array] = []
        self._first_row = self._next_row = self._n_runs = 0
        directory.mkdir(parents=True)

    def add(self, f_BxF: sparse.csr_array) -> None:
        """The next B rows' active latents, float32."""
        self._batches.append(f_BxF)
        self._next_row += f_BxF.shape[0]
        if sum(batch.nnz for batch in self._batches) >= self._run_entries:
            self._flush()

    def finish(self) -> Activity:
        """Writes what is left; what is there can be read now."""
        self._flush()
        return Activity(self._directory, self._d_sae, self._next_row)

    def _flush(self) -> None:
        if not self._batches:
            return
        run = sparse.vstack(self._batches, format="csr").tocsc()
        rows = run.indices.astype(np.int32) + np.int32(self._first_row)
        for name, array in (("indptr", run.indptr.astype(np.int64)), ("rows", rows), ("values", run.data)):
            np.save(self._directory / f"{self._n_runs}-{name}.npy", array)
        self._batches, self._first_row, self._n_runs = [], self._next_row, self._n_runs + 1


class Activity:
    """Reads what an `ActivityWriter` wrote, a latent or a block of latents at a time.

    Attributes:
      d_sae: F.
      n_addresses: rows in all, those that no latent is for included.
    """

    def __init__(self, directory: Path, d_sae: int, n_addresses: int):
        self.d_sae, self.n_addresses = d_sae, n_addresses
        n_runs = len(list(directory.glob("*-indptr.npy")))
        self._runs = [_Run(*(_mapped(directory / f"{i}-{name}.npy") for name in _Run._fields)) for i in range(n_runs)]

    @property
    def n_entries(self) -> int:
        """Active latents over all rows."""
        return sum(len(run.rows) for run in self._runs)

    def of_latent(self, latent: int) -> tuple[np.ndarray, np.ndarray]:
        """(rows on which it is active, rising, int32; its values there, float32)."""
        spans = [(run, slice(int(run.indptr[latent]), int(run.indptr[latent + 1]))) for run in self._runs]
        rows = np.concatenate([run.rows[span] for run, span in spans])
        return rows, np.concatenate([run.values[span] for run, span in spans])

    def of_rows(self, chosen_N: np.ndarray) -> sparse.csc_array:
        """float32 [rows, F]: all latents on the rows where `chosen_N` (bool) is true, the others empty."""
        parts = []
        for latent in range(self.d_sae):
            rows, values = self.of_latent(latent)
            keep = chosen_N[rows]
            parts.append((rows[keep], values[keep]))
        indptr = np.concatenate([[0], np.cumsum([len(rows) for rows, _ in parts])])
        rows, values = (np.concatenate(column) for column in zip(*parts))
        return sparse.csc_array((values, rows, indptr), shape=(len(chosen_N), self.d_sae))


def _mapped(path: Path) -> np.ndarray:
    return np.load(path, mmap_mode="r" if path.stat().st_size > 4096 else None, allow_pickle=False)
