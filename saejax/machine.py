"""What a run ran on, and what it cost: versions, devices, peak memory."""

from __future__ import annotations

import ctypes
import gc
import importlib.metadata
import os
import platform
import resource
import sys
import time
from pathlib import Path

_IMPORTED = time.monotonic()

PACKAGES = (
    "saejax",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "tensorstore",
    "tokenizers",
    "transformers",
    "datasets",
)


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that results depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def devices() -> list[str]:
    """JAX's devices, in words."""
    import jax

    return [f"{d.platform}: {d.device_kind}" for d in jax.devices()]


def reset_peak_memory() -> None:
    """Gives back what is no longer held, and starts `peak_memory_bytes` anew, where C library and kernel allow it (Linux).

    What an earlier task has freed stays with the process otherwise, hundreds of megabytes in pieces, and counts for the next.
    """
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        pass  # another C library
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass  # then the peak is that of the process since it began, as `peak_memory_bytes` says


def peak_memory_bytes() -> int:
    """The process's largest resident size since `reset_peak_memory` on Linux, since it began elsewhere."""
    return _status_bytes("VmHWM") or _largest_bytes()


def resident_memory_bytes() -> int:
    """The process's resident size now on Linux, its largest elsewhere."""
    return _status_bytes("VmRSS") or _largest_bytes()


def memory_bytes() -> int:
    """The memory of the machine that can be had now, in all where the kernel does not say (not Linux)."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def n_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _largest_bytes() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _status_bytes(name: str) -> int | None:
    """A size in the kernel's account of this process; None where there is none."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def seconds_since_start() -> float:
    """Seconds since the process began; since this module was imported where the kernel does not say (not Linux)."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError):
        return time.monotonic() - _IMPORTED
