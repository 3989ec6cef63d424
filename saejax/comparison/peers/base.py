"""What the peers' trainers have in common: each member has a trainer of its own, and they take turns on each batch."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saejax.comparison import torch_rows


class PeerTraining:
    """Trains a plan's members by another project's step. Rows are float32 and scaled already, outside of the clock."""

    def __init__(self, plan: dict[str, Any]):
        self._plan, self._folder = plan, Path(plan["folder"])
        self.device, self.device_peak_bytes = torch_rows.device_name, torch_rows.device_peak_bytes

    def make(self, params: Mapping[str, Tensor], hparams: Mapping[str, float]) -> Any:
        """A member's trainer, starting from saejax's parameters."""
        raise NotImplementedError

    def update(self, trainer: Any, x_BxD: Tensor) -> Tensor | float:
        """One step of it; the loss before the step."""
        raise NotImplementedError

    def prepare(self) -> float:
        """Builds the trainers; seconds of that and of the first steps."""
        start = time.perf_counter()
        x_SxBxD, _, scale = torch_rows.read_rows(self._folder)
        self._x = [x_BxD.float() * scale for x_BxD in x_SxBxD]
        self._trainers = self.made()
        self.unit()
        return time.perf_counter() - start

    def made(self) -> list[Any]:
        """A trainer for each member."""
        members = self._plan["members"]
        stacks = torch_rows.read_params(self._folder, len(members))
        tensors = [{n: torch.from_numpy(np.array(a)).to(torch_rows.DEVICE) for n, a in params.items()} for params in stacks]
        return [self.make(params, member["hparams"]) for params, member in zip(tensors, members)]

    def unit(self) -> float:
        """Seconds of one update of every member on each batch."""
        return torch_rows.timed(self._train)

    def losses(self) -> list[list[float]]:
        """The losses [S, M] of a training anew, a step on each batch."""
        self._trainers = []
        self._trainers = self.made()
        return [[float(loss) for loss in row] for row in self._train()]

    def _train(self) -> list[list[Tensor | float]]:
        return [[self.update(trainer, x_BxD) for trainer in self._trainers] for x_BxD in self._x]
