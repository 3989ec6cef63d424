"""What a training of the twin is told: Adam's settings, schedules, the window of dead latents; all plain numbers."""

from __future__ import annotations

import math
from typing import NamedTuple

_LOWEST = 0.1
_WARMED_UP = ("l1_coefficient", "l0_coefficient")


class Options(NamedTuple):
    """As saejax's `Schedules`, `Optimizer` and `StepOptions` define them; lengths in steps."""

    n_steps: int
    lr_warm_up_steps: int = 0
    lr_decay_steps: int = 0
    sparsity_warm_up_steps: int = 0
    lr_schedule: str = "constant"
    lr_cycles: int = 1
    k_start: int = 0
    k_anneal_steps: int = 1
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    gradient_clip: float = 0.0
    dead_window_steps: int = 200
    bfloat16: bool = False

    def rate(self, step: int) -> float:
        """The factor on the learning rate at a step, counted from 0."""
        factor = min((step + 1) / max(self.lr_warm_up_steps, 1), 1.0)
        if self.lr_schedule == "cosine":
            length = max(1, (self.n_steps - self.lr_warm_up_steps - self.lr_decay_steps) // self.lr_cycles)
            since = min(max(step - self.lr_warm_up_steps, 0), length * self.lr_cycles)
            share = (since - min(since // length, self.lr_cycles - 1) * length) / length
            factor *= (1 - _LOWEST) * 0.5 * (1 + math.cos(math.pi * share)) + _LOWEST
        if self.lr_decay_steps:
            factor *= min(max((self.n_steps - step) / self.lr_decay_steps, 0.0), 1.0)
        return factor

    def in_force(self, hparams: dict, step: int) -> dict:
        """The hyper-parameters (numbers or tensors, by name) at a step."""
        hparams = dict(hparams)
        if self.sparsity_warm_up_steps:
            scale = min(step / self.sparsity_warm_up_steps, 1.0)
            hparams |= {name: scale * hparams[name] for name in _WARMED_UP if name in hparams}
        if self.k_start and "k" in hparams:
            share = min(step / max(self.k_anneal_steps, 1), 1.0)
            hparams["k"] = (self.k_start * (1 - share) + hparams["k"] * share).round()
        return hparams
