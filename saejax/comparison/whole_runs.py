"""Whole runs of the program, text to evaluated autoencoders: all members at once, and each by itself, one after the other."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saejax import console
from saejax.errors import InputError

# What launch.py does with its flags; a process of its own, so start-up, imports and compilation count.
_PROGRAM = """
import sys
from absl import flags
from saejax import flags as flags_lib, tasks
values = flags.FlagValues()
flags_lib.define(values)
values(["launch.py", "--flagfile=" + sys.argv[1]])
tasks.run(flags_lib.from_flags(values))
"""


def compare(together: str, alone: Mapping[str, str]) -> dict[str, Any]:
    """Times the sweep and each member's own run; {`together_seconds`, `alone_seconds`, `alone_total_seconds`, `ratio`}.

    Args:
      together: the sweep's flagfile, without --workdir.
      alone: {member: its flagfile}.

    Raises:
      InputError: a run that fails, with its last line.
    """
    with console.progress("compare", len(alone) + 1, "runs") as advance:
        together_seconds = _seconds(together)
        advance(1, "all at once")
        seconds = {}
        for member, flagfile in alone.items():
            seconds[member] = _seconds(flagfile)
            advance(1, member)
    total = sum(seconds.values())
    return {
        "together_seconds": together_seconds,
        "alone_seconds": seconds,
        "alone_total_seconds": total,
        "ratio": together_seconds / total,
    }


def _seconds(flagfile: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.flags"
        path.write_text(f"{flagfile}--workdir={folder}/run\n")
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", _PROGRAM, str(path)], capture_output=True, text=True, env=_environment())
        seconds = time.perf_counter() - start
    if done.returncode:
        raise InputError(f"--compare=sweep: a run failed: {(done.stderr.strip() or 'no message').splitlines()[-1]}")
    return seconds


def _environment() -> dict[str, str]:
    """This process's, where the first `saejax` to be found is the one that runs here."""
    root = str(Path(__file__).parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))}
