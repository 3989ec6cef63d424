"""How the learning rate and the sparsity loss are scaled at each step, as SAELens defines it."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Schedules(NamedTuple):
    """Static lengths, in steps.

    Attributes:
      n_steps: of the whole training, T.
      lr_warm_up_steps: W; the factor is (t + 1) / W at step t < W.
      lr_decay_steps: N; the factor falls linearly from 1 at step T − N, and would be 0 at step T.
      sparsity_warm_up_steps: S; the sparsity loss is scaled by min(t / S, 1).
    """

    n_steps: int
    lr_warm_up_steps: int = 0
    lr_decay_steps: int = 0
    sparsity_warm_up_steps: int = 0

    def learning_rate(self, step: jax.Array) -> jax.Array:
        """The factor on every member's learning rate at a step (counted from 0), a float scalar."""
        rise = jnp.minimum((step + 1) / max(self.lr_warm_up_steps, 1), 1.0)
        fall = jnp.clip((self.n_steps - step) / max(self.lr_decay_steps, 1), 0.0, 1.0)
        return rise * fall if self.lr_decay_steps else rise

    def sparsity(self, step: jax.Array) -> jax.Array:
        """The factor on the sparsity loss at a step, a float scalar."""
        return jnp.minimum(step / max(self.sparsity_warm_up_steps, 1), 1.0) if self.sparsity_warm_up_steps else jnp.float32(1.0)
