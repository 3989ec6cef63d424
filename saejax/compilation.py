"""Compiled programs kept between runs, by JAX's persistent cache: a second run loads what the first one compiled.

What is loaded is what was compiled, so a run gives the same bits with the cache and without. XLA's own key holds program,
versions and flags; the machine is named here, by a folder of its own, since programs made for one processor may not run on
another that sees the same home, and are cut for the number of cores.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

from saejax import files, machine
from saejax.errors import InputError


def use_cache(folder: str) -> None:
    """Keeps every program that is compiled from now on, and loads those that are there; an empty name is no cache.

    Raises:
      InputError: a folder that cannot be made or written.
    """
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    where = str(_of_this_machine(folder)) if folder else None
    if where != jax.config.jax_compilation_cache_dir:
        compilation_cache.reset_cache()  # JAX opens a cache once, at the first compilation
        jax.config.update("jax_compilation_cache_dir", where)
    # Small programs count too: a command compiles dozens, of a tenth of a second each.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _of_this_machine(folder: str) -> Path:
    """The folder of programs made for this processor, which only its owner may use: they are run as they are found."""
    path = Path(folder).expanduser() / files.fingerprint([platform.machine(), _processor(), machine.n_cores()])
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"--compilation_cache={folder}: cannot be written ({error.strerror}); name another folder, or give it empty"
        ) from error
    if not os.access(path, os.W_OK):
        raise InputError(
            f"--compilation_cache={folder}: {path} cannot be written; name another folder, or give it empty for none"
        )
    return path


def _processor() -> str:
    """What the processor can do, where the kernel says it (Linux); its name elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
