"""sparsify: `SparseCoder`, stepped as its `Trainer` does with Adam (eai-sparsify, `trainer.py`), without the language model.

On a GPU its forward pass is in bfloat16 whatever `--sae_dtype` says: that is its own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from saejax.comparison import torch_rows
from saejax.comparison.peers.base import PeerTraining

if torch_rows.DEVICE == "cpu":  # its kernel for the decoder needs a GPU, and it asks only whether Triton is installed
    os.environ.setdefault("SPARSIFY_DISABLE_TRITON", "1")
from sparsify import SparseCoder, SparseCoderConfig  # noqa: E402  (it reads the variable)


class _Trainer(NamedTuple):
    coder: SparseCoder
    adam: torch.optim.Adam
    since_fired: Tensor
    auxk_alpha: float


class Training(PeerTraining):
    """sparsify's steps."""

    def make(self, params: Mapping[str, Tensor], hparams: Mapping[str, float]) -> _Trainer:
        """A coder, its Adam and its counts of tokens."""
        frame, options = self._plan["frame"], self._plan["options"]
        config = SparseCoderConfig(num_latents=frame["d_sae"], k=int(hparams["k"]), multi_topk=options["multi_topk"])
        coder = SparseCoder(frame["d_in"], config, device=torch_rows.DEVICE)
        coder.encoder.weight.data.copy_(params["W_enc"].T)
        coder.encoder.bias.data.copy_(params["b_enc"])
        coder.W_dec.data.copy_(params["W_dec"])
        coder.b_dec.data.copy_(params["b_dec"])
        adam = torch.optim.Adam(coder.parameters(), lr=hparams["learning_rate"])
        since_fired = torch.zeros(frame["d_sae"], dtype=torch.long, device=torch_rows.DEVICE)
        return _Trainer(coder, adam, since_fired, hparams["auxk_coefficient"])

    def update(self, trainer: _Trainer, x_BxD: Tensor) -> Tensor:
        """What `fit` does for each batch of activations."""
        coder = trainer.coder
        coder.set_decoder_norm_to_unit_norm()
        dead = trainer.since_fired > self._plan["dead_window_steps"] * len(x_BxD)
        total_variance = (x_BxD - x_BxD.mean(0)).pow(2).sum()
        out = coder(x=x_BxD, y=x_BxD, dead_mask=dead, total_variance=total_variance)
        fired = torch.zeros_like(dead)
        fired[out.latent_indices.flatten()] = True
        loss = out.fvu + trainer.auxk_alpha * out.auxk_loss + out.multi_topk_fvu / 8
        loss.backward()
        coder.remove_gradient_parallel_to_decoder_directions()
        trainer.adam.step()
        trainer.adam.zero_grad()
        trainer.since_fired.add_(len(x_BxD))
        trainer.since_fired[fired] = 0
        return loss.detach()
