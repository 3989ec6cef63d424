"""Progress and log lines: a `rich` bar on a terminal, plain lines elsewhere.

Nothing here is read back: what is shown never changes what is computed.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

PLAIN_INTERVAL_SECONDS = 10.0

Advance = Callable[..., None]


def log(message: str) -> None:
    """One line on standard error."""
    print(message, file=sys.stderr, flush=True)


@contextlib.contextmanager
def progress(title: str, total: int, unit: str, done: int = 0) -> Iterator[Advance]:
    """Yields `advance(n, note="")`, which shows how much of `total` is done, the rate and the time left.

    Args:
      title: what is being done.
      total: how many units there are.
      unit: their name, plural ("tokens", "rows").
      done: how many an earlier, interrupted run had done; they do not count for the rate.
    """
    show = _bar if sys.stderr.isatty() else _lines
    with show(title, total, unit, done) as advance:
        yield advance


@contextlib.contextmanager
def _bar(title: str, total: int, unit: str, done: int) -> Iterator[Advance]:
    from rich import progress as rich_progress
    from rich.console import Console

    columns = (
        rich_progress.TextColumn("{task.description:<10}"),
        rich_progress.BarColumn(),
        rich_progress.TaskProgressColumn(),
        rich_progress.TextColumn("{task.fields[rate]}"),
        rich_progress.TimeRemainingColumn(elapsed_when_finished=True),
        rich_progress.TextColumn("{task.fields[note]}"),
    )
    with rich_progress.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total, completed=done, rate="", note="")
        start, count = time.monotonic(), 0

        def advance(n: int, note: str = "") -> None:
            nonlocal count
            count += n
            rate = f"{count / max(time.monotonic() - start, 1e-9):,.0f} {unit}/s"
            bar.update(task, advance=n, rate=rate, note=note)

        yield advance


@contextlib.contextmanager
def _lines(title: str, total: int, unit: str, done: int) -> Iterator[Advance]:
    start = last = time.monotonic()
    count, last_note = 0, ""

    def line(now: float) -> str:
        rate = count / max(now - start, 1e-9)
        left_seconds = (total - done - count) / rate if rate else float("nan")
        return f"{title}: {done + count:,}/{total:,} {unit}, {rate:,.0f} {unit}/s, {left_seconds:,.0f} s left {last_note}"

    def advance(n: int, note: str = "") -> None:
        nonlocal count, last, last_note
        count += n
        last_note = note
        now = time.monotonic()
        if now - last >= PLAIN_INTERVAL_SECONDS:
            last = now
            log(line(now).rstrip())

    yield advance
    seconds = time.monotonic() - start
    rate = f"{count / max(seconds, 1e-9):,.0f} {unit}/s"
    log(f"{title}: {done + count:,} {unit} in {seconds:,.1f} s ({rate}) {last_note}".rstrip())


def table(title: str, header: list[str], rows: list[list[str]]) -> None:
    """Prints a table of strings on standard output; the first column is left-aligned, the rest right-aligned."""
    from rich.console import Console
    from rich.table import Table

    shown = Table(title=title, title_justify="left")
    for i, name in enumerate(header):
        shown.add_column(name, justify="left" if i == 0 else "right", overflow="fold")
    for row in rows:
        shown.add_row(*row)
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(shown)
