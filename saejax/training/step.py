"""One update of one autoencoder: `TrainState` in, `TrainState` out; pure, made for `vmap` over the members.

The step: loss and gradients → projection → clipping → optimizer → this member's learning rate → constraint.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from saejax.sae.base import HParams, LossContext, Params, SparseAutoencoder
from saejax.training.microbatches import value_and_gradients
from saejax.training.optimizers import Optimizer
from saejax.training.schedules import Schedules


class TrainState(NamedTuple):
    """What training changes; with a leading axis M for an ensemble.

    Attributes:
      step: int32 scalar, updates done.
      params: the autoencoder's.
      opt_state: optax's.
      steps_since_fired_F: int32, for each latent the steps since it was last active on any row.
    """

    step: jax.Array
    params: Params
    opt_state: optax.OptState
    steps_since_fired_F: jax.Array


class StepOptions(NamedTuple):
    """What is the same for all members and fixed at compilation.

    Attributes:
      schedules: of learning rate, sparsity loss and k.
      optimizer: and clipping.
      dead_window_steps: a latent counts as dead after more than this many steps without firing.
      microbatch_size: rows whose latents are in memory at once; 0 for all of a batch.
    """

    schedules: Schedules
    optimizer: Optimizer = Optimizer()
    dead_window_steps: int = 200
    microbatch_size: int = 0


def trained(sae: SparseAutoencoder, params: Params) -> Params:
    """The parameters that the optimizer changes."""
    return {name: value for name, value in params.items() if name not in sae.remembered}


def start(sae: SparseAutoencoder, options: StepOptions, params: Params, d_sae: int) -> TrainState:
    """The state before the first step.

    Args:
      sae: the autoencoder.
      options: of the step.
      params: as `sae.init` gives them.
      d_sae: F.
    """
    opt_state = options.optimizer.transformation().init(trained(sae, params))
    return TrainState(jnp.int32(0), params, opt_state, jnp.zeros(d_sae, jnp.int32))


def train_step(
    sae: SparseAutoencoder, options: StepOptions, member_axis: str | None = None
) -> Callable[[TrainState, HParams, jax.Array, jax.Array], tuple[TrainState, dict[str, jax.Array]]]:
    """Makes the update (state, hparams, x_BxD, y_BxE) -> (state, metrics).

    `hparams` holds the architecture's own and `learning_rate`; y is what x is to predict, x itself for an autoencoder. The
    metrics are float scalars: `loss`, the loss's terms, and `dead_fraction`, before this batch.

    Args:
      sae: the autoencoder.
      options: of the step.
      member_axis: the name of the axis of the `vmap` that the update is used under; None for one member by itself.
    """
    optimizer, schedules = options.optimizer.transformation(), options.schedules

    def step(
        state: TrainState, hparams: HParams, x_BxD: jax.Array, y_BxE: jax.Array
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        dead_F = state.steps_since_fired_F > options.dead_window_steps
        any_dead = jnp.any(dead_F)
        if member_axis:
            any_dead = jax.lax.pmax(any_dead.astype(jnp.int32), member_axis) > 0
        context = LossContext(
            dead_F=dead_F,
            any_dead=any_dead,
            step=state.step,
            n_steps=schedules.n_steps,
        )
        now, params = schedules.hparams(hparams, state.step), trained(sae, state.params)

        def loss_of(params: Params, x_BxD: jax.Array, y_BxE: jax.Array):
            return sae.loss({**state.params, **params}, now, x_BxD, y_BxE, context)

        (loss, aux), grads = value_and_gradients(loss_of, params, x_BxD, y_BxE, options.microbatch_size)
        grads = sae.project_gradients(params, grads)
        updates, opt_state = optimizer.update(grads, state.opt_state, params)
        rate = hparams["learning_rate"] * schedules.learning_rate(state.step)
        params = optax.apply_updates(params, jax.tree.map(lambda u: rate * u, updates))
        params = sae.after_update({**state.params, **params}, state.params, aux.observed, context)
        steps_since_fired_F = jnp.where(aux.fired_F, 0, state.steps_since_fired_F + 1)
        metrics = {"loss": loss, "dead_fraction": dead_F.mean(), **aux.metrics}
        return TrainState(state.step + 1, params, opt_state, steps_since_fired_F), metrics

    return step
