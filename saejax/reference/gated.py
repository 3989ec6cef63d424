"""`gated` in its two forms; the formulas are in `saejax/sae/gated.py`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from saejax.reference.base import HParams, Sae, Seen, linear, product, sum_of_squares


class Gated(Sae):
    """f = [gate > 0] ReLU(magnitude), from one encoder; the open gate's own reconstruction is an auxiliary loss."""

    def __init__(self, params: Mapping[str, np.ndarray], *, form: str = "rajamanoharan2024"):
        super().__init__(params)
        self.unit = form == "rajamanoharan2024"

    def _both(self, x_BxD: Tensor) -> tuple[Tensor, Tensor]:
        projected_BxF = product(x_BxD - self.b_dec, self.W_enc)
        gate_BxF = projected_BxF + self.b_gate
        magnitude_BxF = projected_BxF * self.r_mag.exp() + self.b_mag
        return gate_BxF, torch.where(gate_BxF > 0, torch.relu(magnitude_BxF), 0.0)

    def encode(self, x_BxD: Tensor, hparams: HParams) -> Tensor:
        """The latents, [B, F]."""
        return self._both(x_BxD)[1]

    def forward(self, x_BxD: Tensor, hparams: HParams, dead_F: Tensor, auxk: bool) -> tuple[Tensor, Seen]:
        """The loss, and the latents that fired."""
        gate_BxF, f_BxF = self._both(x_BxD)
        open_BxF = torch.relu(gate_BxF)
        if self.unit:
            opened_BxD, weight_F = linear(open_BxF, self.W_dec.detach(), self.b_dec.detach()), 1.0
        else:
            opened_BxD, weight_F = self.decode(open_BxF), self.W_dec.norm(dim=-1)
        l1 = (open_BxF.mean(0) * weight_F).sum()
        loss = sum_of_squares(x_BxD - self.decode(f_BxF)) + hparams["l1_coefficient"] * l1 + sum_of_squares(x_BxD - opened_BxD)
        return loss, {"fired_F": (f_BxF != 0).any(0)}
