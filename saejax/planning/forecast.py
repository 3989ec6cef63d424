"""What is foretold of each task, and how it is said. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Forecast(NamedTuple):
    """One task.

    Attributes:
      task: its name.
      seconds: of each of its parts, by name.
      disk_bytes: that it leaves in the work directory.
      peak_memory_bytes: the most that the process holds.
      operations: counted, of matrix products.
    """

    task: str
    seconds: Mapping[str, float]
    disk_bytes: int
    peak_memory_bytes: int
    operations: int

    @property
    def total_seconds(self) -> float:
        """Of all parts."""
        return sum(self.seconds.values())


HEADER = ["task", "time", "peak memory", "disk", "operations", "of the time"]


def rows(forecasts: Sequence[Forecast]) -> list[list[str]]:
    """A table of the tasks under `HEADER`, and their total."""
    table = []
    for f in forecasts:
        parts = sorted(f.seconds.items(), key=lambda part: -part[1])
        shown = ", ".join(f"{name} {duration(seconds)}" for name, seconds in parts if seconds >= 0.05)
        table.append([f.task, *_numbers(f.total_seconds, f.peak_memory_bytes, f.disk_bytes, f.operations), shown])
    seconds, disk, operations = (
        sum(values) for values in zip(*((f.total_seconds, f.disk_bytes, f.operations) for f in forecasts))
    )
    peak = max(f.peak_memory_bytes for f in forecasts)
    return [*table, ["all", *_numbers(seconds, peak, disk, operations), ""]]


def keep_or_recompute(
    *, n_passes: float, bytes_kept: int, forward_seconds: float, write_seconds: float, read_seconds: float
) -> str:
    """The verdict in words: activations on disk, or the language model run again in each pass over the rows.

    Args:
      n_passes: over the rows.
      bytes_kept: on disk.
      forward_seconds: of the language model over all the text once.
      write_seconds: of all rows.
      read_seconds: of all rows once.
    """
    keep = forward_seconds + write_seconds + n_passes * read_seconds
    recompute = max(n_passes, 1.0) * forward_seconds
    cheaper = "keeping them" if keep <= recompute else "recomputing them"
    return (
        f"activations: {cheaper} is cheaper: kept, {size(bytes_kept)} of disk and {duration(keep)} (one forward pass of "
        f"{duration(forward_seconds)}, writing {duration(write_seconds)}, reading {duration(read_seconds)} a pass); "
        f"recomputed, {duration(recompute)} for {n_passes:.2f} passes over the rows"
    )


def shortages(forecasts: Sequence[Forecast], *, free_disk_bytes: int, memory_bytes: int) -> list[str]:
    """A line for each thing that the machine has too little of."""
    lines = []
    disk = sum(f.disk_bytes for f in forecasts)
    if disk > free_disk_bytes:
        lines.append(
            f"disk: {size(disk)} are needed, {size(free_disk_bytes)} are free; lower --store_tokens, or name another --workdir"
        )
    worst = max(forecasts, key=lambda f: f.peak_memory_bytes)
    if worst.peak_memory_bytes > memory_bytes:
        lines.append(
            f"memory: {worst.task} needs {size(worst.peak_memory_bytes)}, {size(memory_bytes)} can be had; lower --batch_size, "
            "or split the sweep"
        )
    return lines


def duration(seconds: float) -> str:
    """0.84 s, 45 s, 12 min, 3.4 h."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def size(n_bytes: float) -> str:
    """512 kB, 1.9 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}" if n_bytes >= 100 or unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"


def _numbers(seconds: float, memory: int, disk: int, operations: int) -> list[str]:
    return [duration(seconds), size(memory), size(disk), f"{operations:.2e}"]
