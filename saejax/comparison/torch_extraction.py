"""The contender PyTorch: saejax's twin, `transformers`' GPT-2 with hooks."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from saejax.comparison import torch_rows
from saejax.reference import gpt2 as twin


class Extraction:
    """Activations of a plan's sites; see `comparison.extraction` for the plan."""

    def __init__(self, plan: dict[str, Any]):
        from transformers import GPT2Model  # noqa: F401  (an import, not work)

        self._plan, self._folder = plan, Path(plan["folder"])
        self.device, self.device_peak_bytes = torch_rows.device_name, torch_rows.device_peak_bytes

    def prepare(self) -> float:
        """Loads the model and runs it once; seconds of both."""
        start = time.perf_counter()
        dtype = getattr(torch, self._plan["dtype"])
        self._run = twin.Extraction(self._plan["model"], self._plan["sites"], device=torch_rows.DEVICE, dtype=dtype)
        self._tokens = torch.from_numpy(np.load(self._folder / "tokens.npy")).long().to(torch_rows.DEVICE)
        self.unit()
        return time.perf_counter() - start

    def unit(self) -> float:
        """Seconds of one pass, rows in bfloat16 as they are stored."""
        return torch_rows.timed(lambda: {site: x.to(torch.bfloat16) for site, x in self._run(self._tokens).items()})

    def product(self) -> float:
        """Seconds of one product of [tokens, D] and [D, I], the largest of a block."""
        if not hasattr(self, "_product"):
            self._product = torch_rows.product_of(1, self._tokens.numel(), *self._plan["product"], self._plan["dtype"])
            self._product()
        return torch_rows.timed(self._product)

    def outcome(self) -> None:
        """Writes the activations, float32."""
        np.savez(self._folder / "torch.npz", **{site: x.float().cpu().numpy() for site, x in self._run(self._tokens).items()})
