"""The contenders of the store: its shuffled rows, and the same files read from end to end; and whether training waits."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from saejax.activations.store import StoredActivations

_PIECE_BYTES = 4 * 2**20


class Reading:
    """Reads a plan's store: `directory`, `batch_size`, `seed`."""

    def __init__(self, plan: dict[str, Any]):
        self._directory = Path(plan["directory"])
        self._settings = {"batch_size": plan["batch_size"], "seed": plan["seed"]}
        self._files = sorted(path for path in (self._directory / "rows").rglob("*") if path.is_file())

    def sizes(self) -> dict[str, int]:
        """Rows and bytes of rows in the store; bytes of its files."""
        source = StoredActivations(self._directory, **self._settings)
        size = sum(path.stat().st_size for path in self._files)
        return {"rows": source.n_rows, "row_bytes": 2 * source.width, "file_bytes": size}

    def forget(self) -> bool:
        """Asks the kernel to drop the files from its cache; whether it can be asked."""
        if not hasattr(os, "posix_fadvise"):
            return False
        for path in self._files:
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)
        return True

    def shuffled(self) -> float:
        """Seconds of a pass over the rows in shuffled batches, by a store that is opened anew."""
        start = time.perf_counter()
        source = StoredActivations(self._directory, **self._settings)
        for step in range(source.n_rows // source.batch_size):
            source.batches(step, 1)
        return time.perf_counter() - start

    def sequential(self) -> float:
        """Seconds of reading every file from end to end, in pieces of 4 MB."""
        buffer = bytearray(_PIECE_BYTES)
        start = time.perf_counter()
        for path in self._files:
            with open(path, "rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass
        return time.perf_counter() - start

    def shuffled_cold(self) -> float:
        """`shuffled`, the files dropped from the cache before."""
        self.forget()
        return self.shuffled()

    def sequential_cold(self) -> float:
        """`sequential`, the files dropped from the cache before."""
        self.forget()
        return self.sequential()


class InMemory:
    """An `ActivationSource` whose batches are there already: what training costs without any reading."""

    def __init__(self, source: StoredActivations, n_steps: int):
        self.width, self.n_rows = source.width, source.n_rows
        self._x_SxBxD = source.batches(0, n_steps)

    def batches(self, step: int, n_steps: int) -> np.ndarray:
        """The rows of some steps."""
        return self._x_SxBxD[step : step + n_steps]


class Training:
    """Trains a plan's group through the train task's loop, from the store or from memory."""

    def __init__(self, plan: dict[str, Any]):
        from saejax.comparison import saejax_training

        self._plan = plan
        self._ensemble = saejax_training.ensemble_of(plan)
        self._in_memory = InMemory(self._opened(), plan["n_steps"])

    def stored(self) -> float:
        """Seconds of the training, rows read from the store while it goes on.

        The first rows are there before the clock starts: in a run they are read while the step is compiled.
        """
        source = self._opened()
        source.batches(0, 1)
        return self._train(source)

    def in_memory(self) -> float:
        """Seconds of the same training, rows in memory."""
        return self._train(self._in_memory)

    def _opened(self) -> StoredActivations:
        plan = self._plan
        return StoredActivations(Path(plan["directory"]), batch_size=plan["batch_size"], seed=plan["seed"])

    def _train(self, source) -> float:
        from saejax.training import loop

        n, site = self._plan["n_steps"], self._ensemble.group.sites.hook_name
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            loop.train(
                [self._ensemble],
                {site: source},
                batch_size=self._plan["batch_size"],
                scales={site: 1.0},
                b_dec={site: np.zeros(source.width)},
                rhythm=loop.Rhythm(n, n, n),
                checkpoint_directory=Path(folder) / "checkpoints",
                metrics_path=Path(folder) / "metrics.jsonl",
            )
            return time.perf_counter() - start
