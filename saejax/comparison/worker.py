"""A contender in a process of its own, which lives as long as it is measured.

So thread pools do not disturb each other, peak memory is each one's own, and what is imported by one is not by another.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from saejax import machine
from saejax.errors import InputError

_QUIET_SECONDS = 0.05  # for the other processes' threads to stop spinning before the clock starts


class Worker:
    """A contender's process.

    A contender is a class that is made with a plan, a dict of plain values, when everything it needs is imported; whose
    `prepare()` builds and compiles, whose `unit()` does a piece of the work and returns its seconds, and whose other methods
    are named by those who call them.
    """

    def __init__(self, name: str, contender: str, plan: dict[str, Any], *, absent: str, foreign: bool = False):
        """Starts the process and imports what the contender needs.

        Args:
          name: shown in tables.
          contender: "module:Class".
          plan: what the class is made with.
          absent: the message of the InputError where an import fails.
          foreign: whether it is another project's: then its errors are InputErrors too, that say to leave it out.

        Raises:
          InputError: a package that is not installed or does not load.
        """
        self.name, self._foreign = name, foreign
        self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        try:
            self._pool.submit(_start, contender, plan).result()
        except ImportError as error:
            self.close()
            raise InputError(f"{absent} ({' '.join(str(error).split())[:120]})") from error
        except BaseException:
            self.close()
            raise

    def call(self, method: str, *arguments: Any) -> Any:
        """What the contender's method returns."""
        return self._result(_call, method, arguments)

    def seconds(self, method: str, repeats: int = 1) -> float:
        """Seconds that the method says one of `repeats` calls took."""
        return self._result(_seconds, method, repeats)

    def memory(self) -> dict[str, int]:
        """Bytes: `peak` of the process, how much that is `over_imports`, and the `device`'s peak where it has its own."""
        return self._result(_memory)

    def _result(self, function: Callable, *arguments: Any) -> Any:
        try:
            return self._pool.submit(function, *arguments).result()
        except Exception as error:  # another project's code may raise anything; our own goes through as it is
            if not self._foreign:
                raise
            what = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
            raise InputError(
                f"--compare_with={self.name}: failed ({what}); leave it out, or install another version"
            ) from error

    def close(self) -> None:
        """Ends the process."""
        self._pool.shutdown(cancel_futures=True)


class _State:
    contender: Any = None
    imported_bytes: int = 0


def _start(contender: str, plan: dict[str, Any]) -> None:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    module, name = contender.split(":")
    with _silence():
        _State.contender = getattr(importlib.import_module(module), name)(plan)
    machine.reset_peak_memory()
    _State.imported_bytes = machine.peak_memory_bytes()


def _call(method: str, arguments: tuple) -> Any:
    with _silence():
        return getattr(_State.contender, method)(*arguments)


def _seconds(method: str, repeats: int) -> float:
    time.sleep(_QUIET_SECONDS)
    with _silence():
        return sum(getattr(_State.contender, method)() for _ in range(repeats)) / repeats


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Packages' banners and bars are not the comparison's."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield


def _memory() -> dict[str, int]:
    peak = machine.peak_memory_bytes()
    found = {"peak": peak, "over_imports": peak - _State.imported_bytes}
    device = _State.contender.device_peak_bytes() if hasattr(_State.contender, "device_peak_bytes") else None
    return found if device is None else {**found, "device": device}
