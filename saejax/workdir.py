"""The work directory: which tasks are complete, and with which settings they were made.

settings/<task>.json   the flags that shape what the task writes
run.json               versions, devices, data fingerprints; seconds and bytes of each complete task
flags.txt              a flagfile that repeats the newest run exactly
"""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from saejax import files, machine
from saejax.errors import InputError


class Workdir:
    """A run's folder."""

    def __init__(self, path: str, *, resume: bool):
        self.path = Path(path).expanduser()
        try:
            names = {entry.name for entry in self.path.iterdir()} if self.path.exists() else set()
        except (OSError, ValueError) as error:
            raise InputError(f"--workdir={path!r}: not a folder that can be used ({error}); name another") from error
        if not resume and names - {".lock"}:
            raise InputError(f"--noresume: --workdir={path} is not empty; name another folder, or leave --noresume out")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Makes the folder, and keeps other runs out of it meanwhile.

        Raises:
          InputError: a folder that cannot be made, or that another run is using.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = open(self.path / ".lock", "w")
        except OSError as error:
            raise InputError(f"--workdir={self.path}: cannot be written ({error.strerror}); name another folder") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError(f"--workdir={self.path}: another run is using it; wait for it, or name another") from error
            yield

    def check(self, task: str, settings: Mapping[str, Any]) -> None:
        """Raises InputError where the folder holds this task's work, made with other settings."""
        path = self.path / "settings" / f"{task}.json"
        if not path.exists():
            return
        made_with = files.read_json(path)
        for name in sorted((made_with.keys() | settings.keys()) - self._not_asked(settings)):
            old, new = made_with.get(name), settings.get(name)
            if old != new:
                raise InputError(
                    f"--{name}={_text(new)}: --workdir={self.path} holds the '{task}' task's work made with "
                    f"--{name}={_text(old)}; use that value, or another --workdir"
                )

    @staticmethod
    def _not_asked(settings: Mapping[str, Any]) -> set[str]:
        """What a run does not say where it does not train: from which autoencoder training started."""
        return {"sae"} - settings.keys()

    def is_complete(self, task: str) -> bool:
        """Whether the task has been finished here."""
        return task in self._run().get("tasks", {})

    @contextlib.contextmanager
    def doing(self, task: str, settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Records a task's settings before it, and its seconds and bytes after it.

        Yields:
          A dict whose entries are recorded with the task: fingerprints, rates.
        """
        settings_path = self.path / "settings" / f"{task}.json"
        files.write_json(settings_path, settings)
        machine.reset_peak_memory()
        start = time.monotonic()
        facts: dict[str, Any] = {}
        try:
            yield facts
        except InputError:
            if not self._has_work_of(task):
                settings_path.unlink()  # nothing was made: the same folder may be used with mended flags
            raise
        seconds = round(time.monotonic() - start, 2)
        run = self._run()
        run.setdefault("tasks", {})[task] = {"seconds": seconds, "peak_memory_bytes": machine.peak_memory_bytes(), **facts}
        files.write_json(self.path / "run.json", {**run, "versions": machine.versions(), "devices": machine.devices()})

    def _has_work_of(self, task: str) -> bool:
        """Whether anything is there that a task has made, whole or in part."""
        made = {
            "train": ("checkpoints", "saes"),
            "finetune": ("checkpoints_finetune",),
            "evaluate": ("evaluation.json",),
            "features": ("features", "tokens_features"),
            "interface": ("interface",),
            "compare": ("comparison.json",),
        }
        if task in made:
            return any((self.path / name).exists() for name in made[task])
        return not {entry.name for entry in self.path.iterdir()} <= {"flags.txt", "settings", ".lock"}

    def _run(self) -> dict[str, Any]:
        path = self.path / "run.json"
        return files.read_json(path) if path.exists() else {}


def _text(value: Any) -> str:
    return ",".join(str(part) for part in value) if isinstance(value, list) else str(value)
