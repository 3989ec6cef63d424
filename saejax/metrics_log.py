"""`metrics.jsonl`: one JSON object a line, appended as training goes; a resumed run leaves no line twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from saejax import files
from saejax.errors import InputError


def read(path: Path) -> list[dict]:
    """The lines of a metrics file; a last line cut short by a kill is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    read_lines = []
    for number, line in enumerate(lines[:-1], start=1):
        try:
            read_lines.append(json.loads(line))
        except ValueError as error:
            raise InputError(f"{path}: line {number} is not JSON ({error}); remove the line") from error
    return read_lines


Mirror = Callable[[Mapping[str, Any]], None]


class MetricsLog:
    """Appends `{"task", "step", "tokens", …}` lines."""

    def __init__(self, path: Path, task: str, resume_step: int = 0, mirror: Mirror | None = None):
        """Keeps the other tasks' lines, and this task's up to `resume_step`.

        Args:
          path: the file, made if absent.
          task: the name written to each line.
          resume_step: the step from which the run goes on.
          mirror: called with each new line, to show it elsewhere too.
        """
        kept = [line for line in read(path) if line["task"] != task or line["step"] <= resume_step]
        files.write_text(path, "".join(json.dumps(line) + "\n" for line in kept))
        self._task, self._mirror = task, mirror
        self._file = open(path, "a", encoding="utf-8")

    def write(self, step: int, tokens: int, **values: float | str) -> None:
        """One line; `values` are a member's name and its metrics."""
        line = {"task": self._task, "step": step, "tokens": tokens, **values}
        self._file.write(json.dumps(line) + "\n")
        if self._mirror:
            self._mirror(line)

    def flush(self) -> None:
        """Makes the lines so far visible to readers."""
        self._file.flush()

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()
