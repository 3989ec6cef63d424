"""What the twin's autoencoders have in common: a `torch.nn.Module` that gives its loss.

Letters of shapes: B batch, D width, F latents, M members. Methods that change parameters in place take them by name and work
on the last axes, so that they serve one module and a stack of M alike.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

TINY = 1e-8
HParams = Mapping[str, Tensor]
Seen = dict[str, Tensor]


class Sae(nn.Module):
    """An autoencoder: `forward` gives its loss, `project` and `constrain` what surrounds the optimizer's step.

    Attributes:
      unit: whether the rows of W_dec are kept at unit norm.
      remembered: parameters that no optimizer sees; they are buffers.
      has_auxk: whether the loss has a term of dead latents.
    """

    unit = False
    remembered: tuple[str, ...] = ()
    has_auxk = False

    def __init__(self, params: Mapping[str, np.ndarray]):
        super().__init__()
        for name, value in params.items():
            tensor = torch.from_numpy(np.array(value, np.float32))
            if name in self.remembered:
                self.register_buffer(name, tensor)
            else:
                self.register_parameter(name, nn.Parameter(tensor))

    def encode(self, x_BxD: Tensor, hparams: HParams) -> Tensor:
        """The latents, [B, F]."""
        raise NotImplementedError

    def decode(self, f_BxF: Tensor) -> Tensor:
        """The reconstruction, [B, D]."""
        return linear(f_BxF, self.W_dec, self.b_dec)

    def forward(self, x_BxD: Tensor, hparams: HParams, dead_F: Tensor, auxk: bool) -> tuple[Tensor, Seen]:
        """The loss and what was seen on the way: `fired_F`, and what `constrain` needs.

        Args:
          x_BxD: float32 rows.
          hparams: 0-d tensors by name.
          dead_F: bool, the latents that count as dead.
          auxk: whether there is any dead latent, so that its term is needed.
        """
        raise NotImplementedError

    def project(self, params: Mapping[str, Tensor], grads: dict[str, Tensor]) -> None:
        """Before the optimizer: unit rows lose the gradient along them (Bricken et al. 2023)."""
        if self.unit:
            rows = unit_rows(params["W_dec"])
            grads["W_dec"] -= (grads["W_dec"] * rows).sum(-1, keepdim=True) * rows

    def constrain(self, params: Mapping[str, Tensor], seen: Seen, hparams: HParams) -> None:
        """After the optimizer, in place: unit rows, and what is remembered."""
        if self.unit:
            params["W_dec"].copy_(unit_rows(params["W_dec"]))


def product(a_BxK: Tensor, b_KxN: Tensor) -> Tensor:
    """a b, float32; under autocast its operands are rounded to bfloat16, as saejax's are."""
    return (a_BxK @ b_KxN).float()


def linear(x_BxK: Tensor, W_KxN: Tensor, b_N: Tensor) -> Tensor:
    """x W + b, float32."""
    if torch.is_autocast_enabled(x_BxK.device.type):
        return product(x_BxK, W_KxN) + b_N
    return torch.addmm(b_N, x_BxK, W_KxN)


def unit_rows(W_FxD: Tensor) -> Tensor:
    """Each row divided by its norm."""
    return W_FxD / W_FxD.norm(dim=-1, keepdim=True).clamp_min(TINY)


def sum_of_squares(difference_BxD: Tensor) -> Tensor:
    """Σ over dimensions, mean over rows, of the squares."""
    return difference_BxD.square().sum() / difference_BxD.shape[0]


def total_variance(x_BxD: Tensor) -> Tensor:
    """Σ over rows and dimensions of (x − batch mean)²."""
    return (x_BxD - x_BxD.mean(0)).square().sum()


def norm_with_gradient_0_at_0(b_F: Tensor) -> Tensor:
    """‖b‖₂."""
    squares = b_F.square().sum()
    return torch.where(squares > 0, torch.where(squares > 0, squares, 1.0).sqrt(), 0.0)
