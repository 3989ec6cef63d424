"""`jumprelu`, in the forms whose sparsity is a step; the formulas are in `saejax/sae/jumprelu.py`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from saejax.reference.base import HParams, Sae, Seen, linear, sum_of_squares


class Jump(torch.autograd.Function):
    """pre [pre > θ], and [pre > θ] itself; the rectangle kernel's pseudo-gradients go to θ alone."""

    generate_vmap_rule = True

    @staticmethod
    def forward(pre_BxF: Tensor, threshold_F: Tensor, bandwidth: Tensor) -> tuple[Tensor, Tensor]:
        """The latents and the marks of the active ones."""
        active_BxF = (pre_BxF > threshold_F).to(pre_BxF.dtype)
        return pre_BxF * active_BxF, active_BxF

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: tuple) -> None:
        """Keeps what the backward pass needs."""
        ctx.save_for_backward(*inputs, output[1])

    @staticmethod
    def backward(ctx, grad_f_BxF: Tensor, grad_active_BxF: Tensor) -> tuple[Tensor, Tensor, None]:
        """Gradients to pre and θ."""
        pre_BxF, threshold_F, bandwidth, active_BxF = ctx.saved_tensors
        kernel_BxF = ((pre_BxF - threshold_F).abs() < bandwidth / 2) / bandwidth
        to_threshold_F = -(kernel_BxF * (threshold_F * grad_f_BxF + grad_active_BxF)).sum(0)
        return active_BxF * grad_f_BxF, to_threshold_F, None


class JumpRelu(Sae):
    """f = pre [pre > θ], loss = ‖x − x̂‖² + λ L0; `rajamanoharan2024` without centring and with unit rows, or `saelens`."""

    def __init__(self, params: Mapping[str, np.ndarray], *, form: str = "rajamanoharan2024"):
        super().__init__(params)
        self.centre, self.unit = form == "saelens", form == "rajamanoharan2024"

    def _jump(self, x_BxD: Tensor, hparams: HParams) -> tuple[Tensor, Tensor]:
        pre_BxF = linear(x_BxD - self.b_dec if self.centre else x_BxD, self.W_enc, self.b_enc)
        return Jump.apply(pre_BxF, self.threshold, hparams["bandwidth"])

    def encode(self, x_BxD: Tensor, hparams: HParams) -> Tensor:
        """The latents, [B, F]."""
        return self._jump(x_BxD, hparams)[0]

    def forward(self, x_BxD: Tensor, hparams: HParams, dead_F: Tensor, auxk: bool) -> tuple[Tensor, Seen]:
        """The loss, and the latents that fired."""
        f_BxF, active_BxF = self._jump(x_BxD, hparams)
        l0 = active_BxF.sum(-1).mean()
        loss = sum_of_squares(x_BxD - self.decode(f_BxF)) + hparams["l0_coefficient"] * l0
        return loss, {"fired_F": (f_BxF != 0).any(0)}

    def constrain(self, params: Mapping[str, Tensor], seen: Seen, hparams: HParams) -> None:
        """Thresholds stay at 0 or above."""
        params["threshold"].clamp_min_(0.0)
        super().constrain(params, seen, hparams)
