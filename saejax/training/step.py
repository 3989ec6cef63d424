"""One update of one autoencoder: `TrainState` in, `TrainState` out; pure, made for `vmap` over the members.

The step: loss and gradients → projection → clipping → Adam (Kingma & Ba 2015) → this member's learning rate → constraint.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from saejax.sae.base import HParams, LossContext, Params, SparseAutoencoder
from saejax.training.schedules import Schedules

MEMBER_AXIS = "member"


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
      schedules: of learning rate and sparsity loss.
      gradient_clip: largest global norm of a member's gradient; 0 for no clipping.
      dead_window_steps: a latent counts as dead after more than this many steps without firing.
    """

    schedules: Schedules
    gradient_clip: float = 0.0
    dead_window_steps: int = 200


def _optimizer(options: StepOptions) -> optax.GradientTransformation:
    adam = optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8)
    return optax.chain(optax.clip_by_global_norm(options.gradient_clip), adam) if options.gradient_clip else adam


def init(sae: SparseAutoencoder, options: StepOptions, key: jax.Array, b_dec_D: jax.Array, d_sae: int) -> TrainState:
    """The state before the first step.

    Args:
      sae: the autoencoder.
      options: of the step.
      key: JAX random key of the parameters.
      b_dec_D: where the decoder's bias starts.
      d_sae: F.
    """
    params = sae.init(key, b_dec_D)
    return TrainState(jnp.int32(0), params, _optimizer(options).init(params), jnp.zeros(d_sae, jnp.int32))


def train_step(
    sae: SparseAutoencoder, options: StepOptions
) -> Callable[[TrainState, HParams, jax.Array], tuple[TrainState, dict[str, jax.Array]]]:
    """Makes the update (state, hparams, x_BxD) -> (state, metrics), for use under `vmap(axis_name=MEMBER_AXIS)`.

    `hparams` holds the architecture's own and `learning_rate`. The metrics are float scalars: `loss`, the loss's terms,
    and `dead_fraction`, before this batch.
    """
    optimizer = _optimizer(options)

    def step(state: TrainState, hparams: HParams, x_BxD: jax.Array) -> tuple[TrainState, dict[str, jax.Array]]:
        dead_F = state.steps_since_fired_F > options.dead_window_steps
        context = LossContext(
            dead_F=dead_F,
            any_dead=jax.lax.pmax(jnp.any(dead_F).astype(jnp.int32), MEMBER_AXIS) > 0,
            sparsity_scale=options.schedules.sparsity(state.step),
        )
        (loss, aux), grads = jax.value_and_grad(sae.loss, has_aux=True)(state.params, hparams, x_BxD, context)
        grads = sae.project_gradients(state.params, grads)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        rate = hparams["learning_rate"] * options.schedules.learning_rate(state.step)
        params = sae.after_update(optax.apply_updates(state.params, jax.tree.map(lambda u: -rate * u, updates)))
        steps_since_fired_F = jnp.where(aux.fired_F, 0, state.steps_since_fired_F + 1)
        metrics = {"loss": loss, "dead_fraction": dead_F.mean(), **aux.metrics}
        return TrainState(state.step + 1, params, opt_state, steps_since_fired_F), metrics

    return step
