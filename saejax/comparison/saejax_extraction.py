"""The contender saejax: `activations.harvest.capture`, as the extract task uses it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from saejax.activations import harvest
from saejax.lm import gpt2, weights


class Extraction:
    """Activations of a plan's sites; see `comparison.extraction` for the plan."""

    def __init__(self, plan: dict[str, Any]):
        self._plan, self._folder = plan, Path(plan["folder"])
        jax.devices()

    def device(self) -> str:
        """ "cpu", "gpu" or "tpu"."""
        return jax.default_backend()

    def device_peak_bytes(self) -> int | None:
        """The accelerator's peak, where it counts."""
        return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")

    def write_random(self, sizes: dict[str, int], seed: int) -> None:
        """Writes a GPT-2 of these sizes with random weights to the plan's `model`, for all to load."""
        config = gpt2.GPT2Config(**sizes)
        params = gpt2.init(config, jax.random.key(seed))
        weights.save(self._plan["model"], config, params, end_of_text_token=config.vocab_size - 1)

    def prepare(self) -> float:
        """Loads the model and runs it once; seconds of both."""
        start = time.perf_counter()
        self._config, self._params = weights.load(self._plan["model"])
        self._tokens = jax.numpy.asarray(np.load(self._folder / "tokens.npy"))
        self.unit()
        return time.perf_counter() - start

    def unit(self) -> float:
        """Seconds of one pass, rows in bfloat16 as they are stored."""
        dtype = jax.numpy.dtype(self._plan["dtype"])
        start = time.perf_counter()
        rows = harvest.capture(self._params, self._tokens, config=self._config, sites=tuple(self._plan["sites"]), dtype=dtype)
        jax.block_until_ready(rows)
        return time.perf_counter() - start

    def product(self) -> float:
        """Seconds of one product of [tokens, D] and [D, I], the largest of a block."""
        if not hasattr(self, "_product"):
            kind, keys = self._plan["dtype"], jax.random.split(jax.random.key(0))
            a_NxD = jax.random.normal(keys[0], (self._tokens.size, self._config.n_embd)).astype(kind)
            W_DxI = jax.random.normal(keys[1], (self._config.n_embd, self._config.inner)).astype(kind)
            compiled = jax.jit(lambda a, W: a @ W)
            self._product = lambda: compiled(a_NxD, W_DxI)
            jax.block_until_ready(self._product())
        start = time.perf_counter()
        jax.block_until_ready(self._product())
        return time.perf_counter() - start

    def outcome(self) -> None:
        """Writes the activations before they are rounded to be stored, float32."""
        dtype, sites = jax.numpy.dtype(self._plan["dtype"]), tuple(self._plan["sites"])
        run = jax.jit(lambda p, t: gpt2.run(p, t, config=self._config, capture=sites, logits=False, dtype=dtype)[1])
        found = {site: np.asarray(x.astype(np.float32)) for site, x in run(self._params, self._tokens).items()}
        np.savez(self._folder / "saejax.npz", **{site: x.reshape(*x.shape[:2], -1) for site, x in found.items()})
