"""dictionary_learning: its trainers' own `update`. It clips gradients at norm 1 where latents are chosen or gated by θ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dictionary_learning.trainers.batch_top_k import BatchTopKTrainer
from dictionary_learning.trainers.gdm import GatedSAETrainer
from dictionary_learning.trainers.jumprelu import JumpReluTrainer
from dictionary_learning.trainers.standard import StandardTrainer, StandardTrainerAprilUpdate
from dictionary_learning.trainers.top_k import TopKTrainer
from torch import Tensor

from saejax.comparison import torch_rows
from saejax.comparison.peers.base import PeerTraining

# Their parameters' names → saejax's, and whether theirs is the transpose.
_NAMES = {
    "encoder.weight": ("W_enc", True),
    "encoder.bias": ("b_enc", False),
    "decoder.weight": ("W_dec", True),
    "bias": ("b_dec", False),
    "decoder_bias": ("b_dec", False),
    "gate_bias": ("b_gate", False),
    "mag_bias": ("b_mag", False),
}


class Training(PeerTraining):
    """dictionary_learning's trainers, and how many updates each has made."""

    def make(self, params: Mapping[str, Tensor], hparams: Mapping[str, float]) -> list[Any]:
        """A trainer, and the number of its next step; step 0 would overwrite b_dec."""
        plan, name = self._plan, self._plan["architecture"]
        frame, schedules = plan["frame"], plan["schedules"]
        shared = {
            "steps": schedules["n_steps"],
            "activation_dim": frame["d_in"],
            "dict_size": frame["d_sae"],
            "layer": 0,
            "lm_name": "",
            "lr": hparams["learning_rate"],
            "warmup_steps": schedules["lr_warm_up_steps"],
            "device": torch_rows.DEVICE,
        }
        sparsity = {"sparsity_warmup_steps": schedules["sparsity_warm_up_steps"] or None}
        if name == "relu":
            april = plan["options"]["relu_form"] == "april2024"
            kind = StandardTrainerAprilUpdate if april else StandardTrainer
            trainer = kind(**shared, **sparsity, l1_penalty=hparams["l1_coefficient"])
        elif name == "gated":
            trainer = GatedSAETrainer(**shared, **sparsity, l1_penalty=hparams["l1_coefficient"])
        elif name == "jumprelu":
            own = {"sparsity_penalty": hparams["l0_coefficient"], "bandwidth": hparams["bandwidth"]}
            trainer = JumpReluTrainer(**shared, **sparsity, **own, target_l0=hparams["target_l0"])
        else:
            kind = TopKTrainer if name == "topk" else BatchTopKTrainer
            trainer = kind(**shared, k=int(hparams["k"]), auxk_alpha=hparams["auxk_coefficient"])
            trainer.dead_feature_threshold = plan["dead_window_steps"] * len(self._x[0])
        for theirs, parameter in trainer.ae.named_parameters():
            ours, transposed = _NAMES.get(theirs, (theirs, False))
            parameter.data.copy_(params[ours].T if transposed else params[ours])
        return [trainer, 1]

    def update(self, trainer: list[Any], x_BxD: Tensor) -> float:
        """Its `update`, which for some trainers returns the loss."""
        loss = trainer[0].update(trainer[1], x_BxD)
        trainer[1] += 1
        return float("nan") if loss is None else loss
