"""Resampling of dead latents, for any architecture: pure, made for `vmap` over the members.

A latent that has been silent for the whole look-back window gets the direction of an input that is reconstructed badly, drawn
with probability proportional to its squared loss: as its decoder row, with the norm of the living rows; as its encoder column,
with 0.2 of the living columns' mean norm. Its other parameters (biases, thresholds) start again, and so do the optimizer's
moments, of this latent alone. Source: Bricken et al. 2023, "Towards Monosemanticity", Neuron resampling.

Deviations. The direction is of what the latents are to express, x − b_dec (for a transcoder y less what it predicts without
latents, and x less its mean on the encoder's side), where the paper says the input: with activations whose mean is large, as a
residual stream's is, all inputs have nearly one direction. Inputs are drawn without replacement while there are enough, since
latents that begin equal stay equal. Where latents compete for k places, a column of a fifth of the others' norm would never win
one: there it has their norm. The loss of a row is its squared error.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from saejax.sae.base import HParams, SparseAutoencoder, unit_rows
from saejax.sae.registry import latent_axis
from saejax.training.optimizers import reset
from saejax.training.step import TrainState

ENCODER_SHARE = 0.2


def resample(
    sae: SparseAutoencoder,
    state: TrainState,
    hparams: HParams,
    x_SxBxD: jax.Array,
    y_SxBxE: jax.Array,
    key: jax.Array,
    window_steps: int,
) -> tuple[TrainState, jax.Array]:
    """(the state with dead latents made anew; how many, int32).

    Args:
      sae: the autoencoder.
      state: one member's.
      hparams: one member's.
      x_SxBxD, y_SxBxE: batches to choose inputs from, and their targets.
      key: JAX random key.
      window_steps: a latent is resampled that has not fired for at least this many steps.
    """
    dead_F, params = state.steps_since_fired_F >= window_steps, state.params
    choose, begin = jax.random.split(key)

    def squared_errors(rows: tuple[jax.Array, jax.Array]) -> jax.Array:
        x_BxD, y_BxE = rows
        y_hat_BxE = sae.decode(params, sae.encode(params, hparams, x_BxD), x_BxD)
        return jnp.sum(jnp.square(y_BxE - y_hat_BxE), axis=-1)

    loss_N = jax.lax.map(squared_errors, (x_SxBxD, y_SxBxE)).ravel()
    chosen_F = _draw(choose, jnp.square(loss_N / loss_N.max()), dead_F)
    x_FxD, y_FxE = (rows.reshape(loss_N.size, -1)[chosen_F] for rows in (x_SxBxD, y_SxBxE))
    skipped_FxE = x_FxD @ params["W_skip"].T if "W_skip" in params else 0.0
    out_FxE = unit_rows(y_FxE - params.get("b_dec", 0.0) - skipped_FxE)
    in_FxD = out_FxE if x_SxBxD is y_SxBxE else unit_rows(x_FxD - x_SxBxD.mean((0, 1)))

    fresh = sae.init(begin, params.get("b_dec", jnp.zeros(y_SxBxE.shape[-1])))
    new = {**fresh, "W_dec": out_FxE * _living_norm(params["W_dec"], dead_F)}
    if "W_enc" in params:
        share = 1.0 if "k" in hparams else ENCODER_SHARE
        new["W_enc"] = (in_FxD * share * _living_norm(params["W_enc"].T, dead_F)).T
    marks = {name: _marks(name, value, dead_F) for name, value in params.items()}
    made = {name: jnp.where(marks[name], new[name], value) for name, value in params.items()}
    opt_state = reset(state.opt_state, marks)
    since_F = jnp.where(dead_F, 0, state.steps_since_fired_F)
    return TrainState(state.step, made, opt_state, since_F), dead_F.sum()


def _draw(key: jax.Array, weight_N: jax.Array, dead_F: jax.Array) -> jax.Array:
    """For each dead latent a row, int32 [F], drawn in proportion to the weights; without replacement if there are F rows."""
    if weight_N.size < dead_F.size:
        return jax.random.choice(key, weight_N.size, dead_F.shape, p=weight_N / weight_N.sum())
    # The Gumbel trick: the largest of log weight + noise are draws without replacement, the first draw first.
    score_N = jnp.log(weight_N) + jax.random.gumbel(key, weight_N.shape)
    drawn_F = jax.lax.top_k(score_N, dead_F.size)[1]
    return drawn_F[jnp.argsort(jnp.argsort(~dead_F, stable=True))]  # the first draws go to the dead


def _marks(name: str, value: jax.Array, dead_F: jax.Array) -> jax.Array:
    """bool of the parameter's shape: the entries of dead latents."""
    axis = latent_axis(name, value.ndim)
    if axis is None:
        return jnp.zeros(value.shape, bool)
    along = [1] * value.ndim
    along[axis] = dead_F.size
    return jnp.broadcast_to(dead_F.reshape(along), value.shape)


def _living_norm(W_FxD: jax.Array, dead_F: jax.Array) -> jax.Array:
    """Mean norm of the rows of latents that are not dead; 1 where all are."""
    norm_F = jnp.linalg.norm(W_FxD, axis=-1)
    n_living = jnp.sum(~dead_F)
    return jnp.where(n_living > 0, jnp.sum(jnp.where(dead_F, 0.0, norm_F)) / jnp.maximum(n_living, 1), 1.0)
