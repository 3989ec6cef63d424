"""The contender PyTorch: saejax's twin."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from saejax.comparison import torch_rows
from saejax.reference import registry
from saejax.reference.options import Options
from saejax.reference.train import Training as TwinTraining


class Training:
    """Trains a plan's members; see `comparison.training` for the plan."""

    def __init__(self, plan: dict[str, Any]):
        self._plan, self._folder = plan, Path(plan["folder"])
        self.device, self.device_peak_bytes = torch_rows.device_name, torch_rows.device_peak_bytes

    def prepare(self) -> float:
        """Builds the ensemble from saejax's parameters; seconds of building and of the first steps."""
        start = time.perf_counter()
        self._x, self._held, self._scale = torch_rows.read_rows(self._folder)
        self._training = self._made()
        self.unit()
        return time.perf_counter() - start

    def unit(self) -> float:
        """Seconds of one update on each batch."""
        return torch_rows.timed(self._train)

    def product(self) -> float:
        """Seconds of one product of [B, D] and [D, F] for each member."""
        if not hasattr(self, "_product"):
            frame = self._plan["frame"]
            sizes = (len(self._plan["members"]), self._x.shape[1], frame["d_in"], frame["d_sae"])
            self._product = torch_rows.product_of(*sizes, frame["dtype"])
            self._product()
        return torch_rows.timed(self._product)

    def outcome(self) -> None:
        """Trains anew from the start, a step on each batch, and writes losses, latents and parameters."""
        self._training = None  # its memory goes to the one that follows
        training = self._training = self._made()
        before = training.encode(self._held)
        losses = self._train()
        n_members = len(self._plan["members"])
        params = {**training.params, **training.buffers}
        found = {f"params/{name}": value if n_members > 1 else value[None] for name, value in params.items()}
        found |= {"latents_before": before, "latents_after": training.encode(self._held), "losses_SxM": torch.stack(losses)}
        np.savez(self._folder / "torch.npz", **{name: value.detach().cpu().numpy() for name, value in found.items()})

    def _train(self) -> list[torch.Tensor]:
        return [self._training.step(x_BxD.float() * self._scale) for x_BxD in self._x]

    def _made(self) -> TwinTraining:
        plan = self._plan
        members = plan["members"]
        k_max = max([plan["schedules"]["k_start"], *(int(m["hparams"].get("k", 0)) for m in members)])
        saes = [
            registry.make(plan["architecture"], plan["options"], params, k_max)
            for params in torch_rows.read_params(self._folder, len(members))
        ]
        hparams = {name: torch.tensor([float(m["hparams"][name]) for m in members]) for name in members[0]["hparams"]}
        optimizer = {name: plan["optimizer"][name] for name in ("b1", "b2", "eps", "gradient_clip")}
        options = Options(
            **plan["schedules"],
            **optimizer,
            dead_window_steps=plan["dead_window_steps"],
            bfloat16=plan["frame"]["dtype"] == "bfloat16",
        )
        return TwinTraining(saes, hparams, options, device=torch_rows.DEVICE, compile=plan["compile"])
