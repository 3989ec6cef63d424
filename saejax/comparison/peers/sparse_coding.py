"""sparse_coding: `FunctionalEnsemble.step_batch`, a `torch.vmap` over members (its package `autoencoders`, on PYTHONPATH).

Its tied class reads a buffer `bias_decay` that its `init` never makes; it is supplied here. Adam's count stays 0 there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torchopt
from autoencoders.ensemble import FunctionalEnsemble
from autoencoders.sae_ensemble import FunctionalSAE, FunctionalTiedSAE
from torch import Tensor

from saejax.comparison import torch_rows
from saejax.comparison.peers.base import PeerTraining


class Training(PeerTraining):
    """sparse_coding's ensemble: all members at once."""

    def made(self) -> list[Any]:
        """One ensemble, at the first member's learning rate, since it has only one."""
        signature = FunctionalTiedSAE if self._plan["architecture"] == "tied" else FunctionalSAE
        rate = {"lr": self._plan["members"][0]["hparams"]["learning_rate"]}
        return [FunctionalEnsemble(super().made(), signature, torchopt.adam, rate, device=torch_rows.DEVICE)]

    def make(self, params: Mapping[str, Tensor], hparams: Mapping[str, float]) -> tuple[dict, dict]:
        """A member's parameters and buffers."""
        tied = self._plan["architecture"] == "tied"
        sizes = (self._plan["frame"]["d_in"], self._plan["frame"]["d_sae"])
        own, buffers = (FunctionalTiedSAE if tied else FunctionalSAE).init(
            *sizes, hparams["l1_coefficient"], bias_decay=hparams["bias_decay"], device=torch_rows.DEVICE
        )
        buffers["bias_decay"] = torch.tensor(hparams["bias_decay"], device=torch_rows.DEVICE)
        values = {"encoder": params["W_dec"] if tied else params["W_enc"].T, "encoder_bias": params["b_enc"]}
        values |= {} if tied else {"decoder": params["W_dec"]}
        for name, value in values.items():
            own[name].copy_(value)
        return own, buffers

    def update(self, trainer: FunctionalEnsemble, x_BxD: Tensor) -> Tensor:
        """The losses, [M]."""
        losses, _ = trainer.step_batch(x_BxD)
        return losses["loss"]

    def losses(self) -> list[list[float]]:
        """The losses [S, M] of a training anew."""
        self._trainers = []
        self._trainers = self.made()
        return [row[0].tolist() for row in self._train()]
