"""How learning rate, sparsity loss and k are scaled at each step."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from saejax.sae.base import HParams

LR_SCHEDULES = ("constant", "cosine")
_LOWEST = 0.1  # where a cosine ends, as a share of its start: SAELens's lr_end
_WARMED_UP = ("l1_coefficient", "l0_coefficient")


class Schedules(NamedTuple):
    """Static lengths, in steps. Warm-ups and tail are as SAELens defines them.

    Attributes:
      n_steps: of the whole training, T.
      lr_schedule: a name in `LR_SCHEDULES`; a cosine falls from 1 to 0.1 between warm-up and tail.
      lr_cycles: cosines one after the other, each starting again from 1.
      lr_warm_up_steps: W; the factor is (t + 1) / W at step t < W.
      lr_decay_steps: N; the factor falls linearly from 1 at step T − N, and would be 0 at step T.
      sparsity_warm_up_steps: S; l1 and l0 coefficients are scaled by min(t / S, 1).
      k_start: the k of every member at step 0; 0 for its own.
      k_anneal_steps: over which it goes linearly, in whole numbers, to each member's own (sparsify's k decay).
    """

    n_steps: int
    lr_warm_up_steps: int = 0
    lr_decay_steps: int = 0
    sparsity_warm_up_steps: int = 0
    lr_schedule: str = "constant"
    lr_cycles: int = 1
    k_start: int = 0
    k_anneal_steps: int = 0

    def learning_rate(self, step: jax.Array) -> jax.Array:
        """The factor on every member's learning rate at a step (counted from 0), a float scalar."""
        factor = jnp.minimum((step + 1) / max(self.lr_warm_up_steps, 1), 1.0)
        if self.lr_schedule == "cosine":
            length = max(1, (self.n_steps - self.lr_warm_up_steps - self.lr_decay_steps) // self.lr_cycles)
            cosine = optax.cosine_decay_schedule(1.0, length, alpha=_LOWEST)
            since = jnp.clip(step - self.lr_warm_up_steps, 0, length * self.lr_cycles)
            cycle = jnp.minimum(since // length, self.lr_cycles - 1)
            factor *= cosine(since - cycle * length)
        if self.lr_decay_steps:
            factor *= jnp.clip((self.n_steps - step) / self.lr_decay_steps, 0.0, 1.0)
        return factor

    def hparams(self, hparams: HParams, step: jax.Array) -> HParams:
        """The hyper-parameters in force at a step."""
        hparams = dict(hparams)
        if self.sparsity_warm_up_steps:
            scale = jnp.minimum(step / self.sparsity_warm_up_steps, 1.0)
            hparams |= {name: scale * hparams[name] for name in _WARMED_UP if name in hparams}
        if self.k_start and "k" in hparams:
            share = jnp.minimum(step / max(self.k_anneal_steps, 1), 1.0)
            hparams["k"] = jnp.round(self.k_start * (1 - share) + hparams["k"] * share).astype(jnp.int32)
        return hparams
