"""`relu` in its four forms, and `tied`; the formulas are in `saejax/sae/relu.py` and `saejax/sae/tied.py`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from saejax.reference.base import (
    TINY,
    HParams,
    Sae,
    Seen,
    linear,
    norm_with_gradient_0_at_0,
    product,
    sum_of_squares,
    unit_rows,
)


class Relu(Sae):
    """f = ReLU((x − b_dec) W_enc + b_enc), x̂ = f W_dec + b_dec."""

    def __init__(self, params: Mapping[str, np.ndarray], *, form: str = "bricken2023"):
        super().__init__(params)
        self.form, self.unit = form, form in ("bricken2023", "openai")

    def encode(self, x_BxD: Tensor, hparams: HParams) -> Tensor:
        """The latents, [B, F]."""
        return torch.relu(linear(x_BxD if self.form == "sparse_coding" else x_BxD - self.b_dec, self.W_enc, self.b_enc))

    def decode(self, f_BxF: Tensor) -> Tensor:
        """The reconstruction, [B, D]."""
        if self.form == "sparse_coding":
            return linear(f_BxF, unit_rows(self.W_dec), self.b_dec.detach())
        return linear(f_BxF, self.W_dec, self.b_dec)

    def forward(self, x_BxD: Tensor, hparams: HParams, dead_F: Tensor, auxk: bool) -> tuple[Tensor, Seen]:
        """The loss, and the latents that fired."""
        f_BxF = self.encode(x_BxD, hparams)
        error_BxD = x_BxD - self.decode(f_BxF)
        if self.form == "openai":
            squares_B = x_BxD.square().sum(-1).clamp_min(TINY)
            reconstruction = (error_BxD.square().sum(-1) / squares_B).mean()
            sparsity = (f_BxF / squares_B.sqrt()[:, None]).mean(0).sum()
        elif self.form == "april2024":
            reconstruction = sum_of_squares(error_BxD)
            sparsity = (f_BxF.mean(0) * self.W_dec.norm(dim=-1)).sum()
        else:
            reconstruction = error_BxD.square().mean() if self.form == "sparse_coding" else sum_of_squares(error_BxD)
            sparsity = f_BxF.mean(0).sum()
        decay = hparams["bias_decay"] * norm_with_gradient_0_at_0(self.b_enc)
        return reconstruction + hparams["l1_coefficient"] * sparsity + decay, {"fired_F": (f_BxF != 0).any(0)}


class Tied(Sae):
    """f = ReLU(x Dᵀ + b_enc), x̂ = f D [+ b_dec], D the rows of W_dec, divided by their norms unless `normalise` is False."""

    def __init__(self, params: Mapping[str, np.ndarray], *, normalise: bool = True):
        super().__init__(params)
        self.normalise = normalise

    def _dictionary(self) -> Tensor:
        return unit_rows(self.W_dec) if self.normalise else self.W_dec

    def _decode(self, f_BxF: Tensor, D_FxD: Tensor) -> Tensor:
        return linear(f_BxF, D_FxD, self.b_dec) if hasattr(self, "b_dec") else product(f_BxF, D_FxD)

    def encode(self, x_BxD: Tensor, hparams: HParams) -> Tensor:
        """The latents, [B, F]."""
        return torch.relu(linear(x_BxD, self._dictionary().mT, self.b_enc))

    def decode(self, f_BxF: Tensor) -> Tensor:
        """The reconstruction, [B, D]."""
        return self._decode(f_BxF, self._dictionary())

    def forward(self, x_BxD: Tensor, hparams: HParams, dead_F: Tensor, auxk: bool) -> tuple[Tensor, Seen]:
        """The loss, and the latents that fired."""
        D_FxD = self._dictionary()
        f_BxF = torch.relu(linear(x_BxD, D_FxD.mT, self.b_enc))
        reconstruction = (x_BxD - self._decode(f_BxF, D_FxD)).square().mean()
        decay = hparams["bias_decay"] * norm_with_gradient_0_at_0(self.b_enc)
        loss = reconstruction + hparams["l1_coefficient"] * f_BxF.mean(0).sum() + decay
        return loss, {"fired_F": (f_BxF != 0).any(0)}
