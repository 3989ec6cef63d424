"""SAELens: `SAETrainer.step` on its training classes (sae-lens, `training/sae_trainer.py`). It clips gradients at norm 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sae_lens import (
    BatchTopKTrainingSAE,
    BatchTopKTrainingSAEConfig,
    GatedTrainingSAE,
    GatedTrainingSAEConfig,
    JumpReLUTrainingSAE,
    JumpReLUTrainingSAEConfig,
    StandardTrainingSAE,
    StandardTrainingSAEConfig,
    TopKTrainingSAE,
    TopKTrainingSAEConfig,
)
from sae_lens.config import SAETrainerConfig
from sae_lens.training.sae_trainer import SAETrainer
from torch import Tensor

from saejax.comparison import torch_rows
from saejax.comparison.peers.base import PeerTraining

_CLASSES = {
    "relu": (StandardTrainingSAE, StandardTrainingSAEConfig),
    "gated": (GatedTrainingSAE, GatedTrainingSAEConfig),
    "jumprelu": (JumpReLUTrainingSAE, JumpReLUTrainingSAEConfig),
    "topk": (TopKTrainingSAE, TopKTrainingSAEConfig),
    "batch_topk": (BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig),
}


class Training(PeerTraining):
    """SAELens's trainers."""

    def make(self, params: Mapping[str, Tensor], hparams: Mapping[str, float]) -> SAETrainer:
        """A trainer with its class's configuration."""
        plan, name = self._plan, self._plan["architecture"]
        schedules, optimizer = plan["schedules"], plan["optimizer"]
        warm_up = schedules["sparsity_warm_up_steps"]
        own: dict[str, Any] = {
            "relu": lambda: {"l1_coefficient": hparams["l1_coefficient"], "l1_warm_up_steps": warm_up},
            "gated": lambda: {"l1_coefficient": hparams["l1_coefficient"], "l1_warm_up_steps": warm_up},
            "jumprelu": lambda: {
                "l0_coefficient": hparams["l0_coefficient"],
                "l0_warm_up_steps": warm_up,
                "jumprelu_bandwidth": hparams["bandwidth"],
            },
            "topk": lambda: {"k": int(hparams["k"]), "aux_loss_coefficient": hparams["auxk_coefficient"]},
            "batch_topk": lambda: {
                "k": float(hparams["k"]),
                "aux_loss_coefficient": hparams["auxk_coefficient"],
                "topk_threshold_lr": hparams["threshold_rate"],
            },
        }[name]()
        kind, settings = _CLASSES[name]
        frame = plan["frame"]
        sae = kind(settings(d_in=frame["d_in"], d_sae=frame["d_sae"], device=torch_rows.DEVICE, **own))
        for name, parameter in sae.named_parameters():
            parameter.data.copy_(params[name])
        batch = self._x[0].shape[0]
        config = SAETrainerConfig(
            total_training_samples=schedules["n_steps"] * batch,
            train_batch_size_samples=batch,
            lr=hparams["learning_rate"],
            lr_end=hparams["learning_rate"] / 10,
            lr_warm_up_steps=schedules["lr_warm_up_steps"],
            lr_decay_steps=schedules["lr_decay_steps"],
            adam_beta1=optimizer["b1"],
            adam_beta2=optimizer["b2"],
            device=torch_rows.DEVICE,
            autocast=frame["dtype"] == "bfloat16",
            dead_feature_window=plan["dead_window_steps"],
        )
        return SAETrainer(config, sae, iter(()))

    def update(self, trainer: SAETrainer, x_BxD: Tensor) -> Tensor:
        """`fit`'s loop without its logging and progress bar."""
        output = trainer.step(x_BxD)
        trainer.n_training_steps += 1
        return output.loss.detach()
