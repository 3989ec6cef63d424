"""Training a GPT-2 from scratch: AdamW, linear warm-up and cosine decay, gradient clipping, checkpoints.

Random keys and batches are functions of (seed, step), so a resumed run is bit for bit the run that never stopped.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from saejax import console
from saejax.checkpoint import Checkpoints
from saejax.errors import InputError
from saejax.lm import gpt2
from saejax.metrics_log import MetricsLog, Mirror


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a GPT-2 is trained.

    Attributes:
      n_steps, warm_up_steps: updates in all, and those of the linear warm-up.
      batch_windows: windows in a batch.
      learning_rate: the peak; the cosine ends at a hundredth of it.
      weight_decay: on matrices only.
      gradient_clip: largest global norm of a gradient.
      dtype: of activations and products; parameters and moments are float32.
      seed: of parameters and batches.
    """

    n_steps: int
    warm_up_steps: int
    batch_windows: int
    learning_rate: float
    weight_decay: float
    gradient_clip: float
    dtype: Any
    seed: int


class LMState(NamedTuple):
    """What training changes."""

    params: gpt2.Params
    opt_state: optax.OptState


def optimizer(recipe: Recipe) -> optax.GradientTransformation:
    """Clipping, then AdamW (Loshchilov & Hutter 2019) with betas 0.9 and 0.99."""
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, recipe.learning_rate, recipe.warm_up_steps, recipe.n_steps, 0.01 * recipe.learning_rate
    )
    return optax.chain(
        optax.clip_by_global_norm(recipe.gradient_clip),
        optax.adamw(
            schedule,
            b1=0.9,
            b2=0.99,
            weight_decay=recipe.weight_decay,
            mask=lambda params: jax.tree.map(lambda p: p.ndim > 1, params),
        ),
    )


def init(config: gpt2.GPT2Config, recipe: Recipe) -> LMState:
    """The state before the first step."""
    params = gpt2.init(config, jax.random.key(recipe.seed))
    return LMState(params, optimizer(recipe).init(params))


@functools.partial(jax.jit, static_argnames=("config", "recipe"), donate_argnums=0)
def train_steps(state: LMState, tokens_SxBxL: jax.Array, *, config: gpt2.GPT2Config, recipe: Recipe):
    """S updates in one dispatch.

    Returns:
      (the new state, each step's loss float32 [S]).
    """

    def step(state: LMState, tokens_BxL):
        def loss_of(params):
            logits_BxLxV, _ = gpt2.run(params, tokens_BxL, config=config, dtype=recipe.dtype)
            return gpt2.next_token_losses(logits_BxLxV, tokens_BxL).mean()

        loss, grads = jax.value_and_grad(loss_of)(state.params)
        updates, opt_state = optimizer(recipe).update(grads, state.opt_state, state.params)
        return LMState(optax.apply_updates(state.params, updates), opt_state), loss

    return jax.lax.scan(step, state, tokens_SxBxL)


@functools.partial(jax.jit, static_argnames=("config", "dtype"))
def _loss_sum(params, tokens_BxL, *, config, dtype):
    logits_BxLxV, _ = gpt2.run(params, tokens_BxL, config=config, dtype=dtype)
    return gpt2.next_token_losses(logits_BxLxV, tokens_BxL).sum()


def held_out_loss(params: gpt2.Params, tokens_NxL: np.ndarray, *, config: gpt2.GPT2Config, dtype: Any) -> float:
    """Mean cross-entropy over all but each window's first token, nats."""
    batches = [tokens_NxL[i : i + 32] for i in range(0, len(tokens_NxL), 32)]
    total = sum(float(_loss_sum(params, batch, config=config, dtype=dtype)) for batch in batches)
    return total / (tokens_NxL.shape[0] * (tokens_NxL.shape[1] - 1))


def batch(tokens_NxL: np.ndarray, step: int, *, batch_windows: int, seed: int) -> np.ndarray:
    """The windows of one step: each pass over the text in an order drawn from (seed, pass)."""
    places = np.arange(step * batch_windows, (step + 1) * batch_windows)
    rows = [_order(len(tokens_NxL), seed, place // len(tokens_NxL))[place % len(tokens_NxL)] for place in places.tolist()]
    return tokens_NxL[rows]


@functools.lru_cache(maxsize=2)
def _order(n: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(n)


def train(
    config: gpt2.GPT2Config,
    recipe: Recipe,
    train_NxL: np.ndarray,
    held_out_NxL: np.ndarray,
    *,
    checkpoint_directory: Path,
    metrics_path: Path,
    checkpoint_every_steps: int,
    log_every_steps: int,
    mirror: Mirror | None = None,
) -> gpt2.Params:
    """Trains to `recipe.n_steps`, going on from the newest checkpoint if there is one.

    Losses are read a dispatch late, so that the device never waits for the host.

    Returns:
      The trained parameters, float32.

    Raises:
      InputError: a loss that is not finite; it names the step, and the last good checkpoint stays.
    """
    state = init(config, recipe)
    with Checkpoints(checkpoint_directory) as checkpoints:
        start = checkpoints.latest_step or 0
        if start:
            state = checkpoints.restore(start, state)
            console.log(f"pretrain: going on from step {start:,}")
        tokens_a_step = recipe.batch_windows * train_NxL.shape[1]
        pending: tuple[int, jax.Array] | None = None
        with (
            MetricsLog(metrics_path, "pretrain", start, mirror) as metrics,
            console.progress("pretrain", recipe.n_steps * tokens_a_step, "tokens", start * tokens_a_step) as advance,
        ):

            def read(pending: tuple[int, jax.Array]) -> None:
                end, losses = pending[0], np.asarray(pending[1], np.float64)
                if not np.isfinite(losses).all():
                    bad = end - len(losses) + int(np.argmax(~np.isfinite(losses)))
                    raise InputError(
                        f"pretrain: the loss is {losses[bad - end + len(losses)]} at step {bad}; "
                        f"{checkpoints.kept}: lower --lm_learning_rate and start in another --workdir"
                    )
                metrics.write(end, end * tokens_a_step, loss=float(losses.mean()))
                metrics.flush()
                advance(len(losses) * tokens_a_step, f"loss {losses.mean():.3f}")

            step = start
            while step < recipe.n_steps:
                boundary = min(
                    recipe.n_steps,
                    *(math.floor(step / every + 1) * every for every in (log_every_steps, checkpoint_every_steps)),
                )
                rows = [
                    batch(train_NxL, s, batch_windows=recipe.batch_windows, seed=recipe.seed) for s in range(step, boundary)
                ]
                state, losses = train_steps(state, np.stack(rows), config=config, recipe=recipe)
                if pending:
                    read(pending)
                step, pending = boundary, (boundary, losses)
                if step % checkpoint_every_steps == 0 or step == recipe.n_steps:
                    read(pending)
                    pending = None
                    held_out = held_out_loss(state.params, held_out_NxL[:64], config=config, dtype=recipe.dtype)
                    if not math.isfinite(held_out):
                        raise InputError(
                            f"pretrain: the held-out loss is {held_out} after step {step - 1}; "
                            f"{checkpoints.kept}: lower --lm_learning_rate and start in another --workdir"
                        )
                    metrics.write(step, step * tokens_a_step, held_out_loss=held_out)
                    metrics.flush()
                    console.log(f"pretrain: step {step:,}, held-out loss {held_out:.4f} nats a token (64 windows)")
                    checkpoints.save(step, state)
    return state.params
