"""`topk` and `batch_topk`, with AuxK; the formulas are in `saejax/sae/chosen.py` and `saejax/sae/dead_latents.py`.

`torch.topk` wants a fixed k: the largest of the members is taken, and a member with a smaller k keeps the first of them.
Everything is dense, as a reader would write it; sparsify has the sparse kernels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from saejax.reference.base import TINY, HParams, Sae, Seen, linear, product, sum_of_squares, total_variance

_MULTI, _MULTI_WEIGHT = 4, 1 / 8


class Form(NamedTuple):
    """How a peer writes the loss: FVU or squares, norms in the latents or unit rows, and AuxK's four questions."""

    fvu: bool
    norm_in_latents: bool
    auxk_relu: bool
    auxk_over: str
    auxk_scaled: bool
    auxk_trains_b_dec: bool


FORMS = {
    "gao2024": Form(True, False, True, "residual", False, True),
    "saelens": Form(False, True, False, "rows", True, False),
    "sparsify": Form(True, False, True, "target", True, False),
    "dictionary_learning": Form(False, False, True, "residual", False, False),
}


class TopK(Sae):
    """f = ReLU of each row's k largest of (x − b_dec) W_enc + b_enc."""

    has_auxk = True

    def __init__(self, params: Mapping[str, np.ndarray], *, form: str, k_max: int, k_aux: int = 0, multi_topk: bool = False):
        super().__init__(params)
        F, D = params["W_dec"].shape
        self.form, self.unit = FORMS[form], not FORMS[form].norm_in_latents
        self.k_max, self.multi_topk = k_max, multi_topk
        self.k_aux = k_aux or max(1, D // 2)

    def _maps(self) -> tuple[Tensor, Tensor, Tensor]:
        """W_enc, b_enc and W_dec in the units in which latents are chosen."""
        if not self.form.norm_in_latents:
            return self.W_enc, self.b_enc, self.W_dec
        norm_F = self.W_dec.norm(dim=-1)
        return self.W_enc * norm_F, self.b_enc * norm_F, self.W_dec / norm_F[:, None]

    def select(self, pre_BxF: Tensor, k: Tensor, k_max: int) -> Tensor:
        """ReLU of the k largest of each row, 0 elsewhere."""
        return _largest(pre_BxF, k, min(k_max, pre_BxF.shape[-1]), relu=True)

    def encode(self, x_BxD: Tensor, hparams: HParams) -> Tensor:
        """The latents, [B, F]."""
        W_enc, b_enc, _ = self._maps()
        return self.select(linear(x_BxD - self.b_dec, W_enc, b_enc), hparams["k"], self.k_max)

    def decode(self, f_BxF: Tensor) -> Tensor:
        """The reconstruction, [B, D]."""
        return linear(f_BxF, self._maps()[2], self.b_dec)

    def forward(self, x_BxD: Tensor, hparams: HParams, dead_F: Tensor, auxk: bool) -> tuple[Tensor, Seen]:
        """The loss, the latents that fired, and what the threshold is learnt from."""
        W_enc, b_enc, W_dec = self._maps()
        pre_BxF = linear(x_BxD - self.b_dec, W_enc, b_enc)
        f_BxF = self.select(pre_BxF, hparams["k"], self.k_max)
        error_BxD = x_BxD - linear(f_BxF, W_dec, self.b_dec)
        loss = self._squares(error_BxD, x_BxD)
        if self.multi_topk:
            more_BxF = self.select(pre_BxF, _MULTI * hparams["k"], _MULTI * self.k_max)
            loss = loss + _MULTI_WEIGHT * self._squares(x_BxD - linear(more_BxF, W_dec, self.b_dec), x_BxD)
        if auxk:
            loss = loss + hparams["auxk_coefficient"] * self._auxk(pre_BxF, x_BxD, error_BxD.detach(), W_dec, dead_F)
        return loss, {"fired_F": (f_BxF != 0).any(0), **self._observed(f_BxF)}

    def _observed(self, f_BxF: Tensor) -> Seen:
        return {}

    def _squares(self, error_BxD: Tensor, x_BxD: Tensor) -> Tensor:
        return error_BxD.square().sum() / total_variance(x_BxD) if self.form.fvu else sum_of_squares(error_BxD)

    def _auxk(self, pre_BxF: Tensor, x_BxD: Tensor, error_BxD: Tensor, W_dec_FxD: Tensor, dead_F: Tensor) -> Tensor:
        """The k_aux largest dead latents reconstruct the error (Gao et al. 2024, section A.2)."""
        form, n_dead = self.form, dead_F.sum()
        candidates_BxF = torch.where(dead_F, pre_BxF, -torch.inf)
        aux_BxF = _largest(candidates_BxF, n_dead, min(self.k_aux, dead_F.shape[-1]), relu=form.auxk_relu)
        difference_BxD = product(aux_BxF, W_dec_FxD) - error_BxD
        if form.auxk_trains_b_dec:
            difference_BxD = difference_BxD + self.b_dec - self.b_dec.detach()
        if form.auxk_over == "rows":
            divisor = x_BxD.shape[0]
        else:
            divisor = total_variance(error_BxD if form.auxk_over == "residual" else x_BxD).clamp_min(TINY)
        scale = (n_dead / self.k_aux).clamp_max(1.0) if form.auxk_scaled else (n_dead > 0).float()
        return scale * difference_BxD.square().sum() / divisor


class BatchTopK(TopK):
    """f = ReLU of the k·B largest of a batch; the smallest that is kept is averaged into a threshold."""

    remembered = ("threshold",)

    def select(self, pre_BxF: Tensor, k: Tensor, k_max: int) -> Tensor:
        """ReLU of the k·B largest of all, 0 elsewhere."""
        B, flat = pre_BxF.shape[0], pre_BxF.reshape(-1)
        return _largest(flat, k * B, min(k_max * B, flat.shape[0]), relu=True).reshape(pre_BxF.shape)

    def _observed(self, f_BxF: Tensor) -> Seen:
        return {"smallest_kept": torch.where(f_BxF > 0, f_BxF, torch.inf).amin((0, 1)).detach().float()}

    def constrain(self, params: Mapping[str, Tensor], seen: Seen, hparams: HParams) -> None:
        """The threshold moves towards the batch's smallest kept latent, and starts at the first."""
        super().constrain(params, seen, hparams)
        old, new, rate = params["threshold"], seen["smallest_kept"], hparams["threshold_rate"]
        averaged = torch.where(old < 0, new, (1.0 - rate) * old + rate * new)
        old.copy_(torch.where(torch.isfinite(new), averaged, old))


def _largest(values: Tensor, k: Tensor, k_max: int, *, relu: bool) -> Tensor:
    """The min(k, k_max) largest along the last axis, each in its place, 0 elsewhere."""
    top, places = values.topk(k_max, dim=-1)
    kept = torch.arange(k_max, device=values.device) < k
    top = torch.where(kept, torch.relu(top) if relu else top, 0.0)
    return torch.zeros_like(values).scatter(-1, places, top)
