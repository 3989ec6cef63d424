"""A work directory of two random autoencoders of the tiny model, one with made-up features, and the server of it."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import synthetic

from saejax.interop import saelens
from saejax.sae.inference import InferenceSAE

ROOT = Path(__file__).parent.parent.parent
NAMES = ("topk-k4-d32-lr1e-3-seed0", "topk-k8-d32-lr1e-3-seed0")
FLAGS = ["--compilation_cache=", "--architecture=topk", "--k=4,8", "--d_sae=32", "--context_size=64"]


class Served(NamedTuple):
    """A running server.

    Attributes:
      address: as it was printed.
      workdir: its own.
      process: that serves.
    """

    address: str
    workdir: Path
    process: subprocess.Popen


def make(workdir: Path) -> None:
    """Writes `saes/` and `features/`."""
    for seed, name in enumerate(NAMES):
        rng = np.random.default_rng(seed)
        shapes = ((128, 32), (32,), (32, 128), (128,))
        tensors = (jnp.float32(rng.normal(size=shape) / 8) for shape in shapes)
        sae = InferenceSAE(*tensors, k=jnp.int32(4 * (seed + 1)), activation="topk")
        saelens.save(workdir / "saes" / name, sae, metadata={"hook_name": "blocks.2.hook_resid_post"})
    synthetic.write(workdir / "features" / NAMES[0], 32)


def command(workdir: Path, *more: str) -> list[str]:
    return [sys.executable, "launch.py", f"--workdir={workdir}", *FLAGS, *more]


@contextlib.contextmanager
def start_serving(workdir: Path) -> Iterator[Served]:
    """Starts `--tasks=interface,serve` on a free port; interrupts it at the end, and sees that it stops cleanly."""
    make(workdir)
    with open(workdir.with_suffix(".log"), "w+") as log:
        process = subprocess.Popen(
            command(workdir, "--tasks=interface,serve", "--port=0"), stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT
        )
        try:
            line = process.stdout.readline()
            found = re.match(r"serve: (http://127\.0\.0\.1:\d+/) ", line)
            assert found, f"{line!r}\n{Path(log.name).read_text()}"
            yield Served(found[1], workdir, process)
        finally:
            started = time.monotonic()
            process.send_signal(signal.SIGINT)
            status = process.wait(20)
            assert (status, process.stdout.read()) == (0, ""), Path(log.name).read_text()
            assert time.monotonic() - started < 10 and "Traceback" not in Path(log.name).read_text()
