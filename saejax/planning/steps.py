"""How fast a sweep trains, and in how much memory: its own compiled ensembles, on random rows."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from saejax.planning import counts
from saejax.training.ensemble import Ensemble, Inputs
from saejax.training.step import TrainState


class StepMemory(NamedTuple):
    """What an ensemble's step holds at its peak, by XLA's own account, in bytes.

    Attributes:
      parameters: of all members.
      moments: the rest of the state: the optimizer's, and a count for each latent.
      rows: of a dispatch, as they are stored.
      gradients: one of each parameter.
      activations: the rest of what is temporary.
      n_latent_arrays: how many arrays [B, F] a member the activations would fill.
    """

    parameters: int
    moments: int
    rows: int
    gradients: int
    activations: int
    n_latent_arrays: float

    @property
    def total(self) -> int:
        """All of it."""
        return self.parameters + self.moments + self.rows + self.gradients + self.activations


class Steps(NamedTuple):
    """What was measured.

    Attributes:
      begin_seconds: until all ensembles are compiled and their first states made.
      step_seconds: of a step of all of them.
      memory: of each ensemble's step, by its group's name.
      states: of each ensemble, after the steps that were made.
    """

    begin_seconds: float
    step_seconds: float
    memory: dict[str, StepMemory]
    states: list[TrainState]


def operations(ensembles: Sequence[Ensemble], batch_size: int) -> int:
    """Counted operations of a step of all members."""
    frames = [(e.group.frame, len(e.group.members)) for e in ensembles]
    return sum(n * counts.sae_step_operations(batch_size, f.d_in, f.width_out, f.d_sae) for f, n in frames)


def steps(
    ensembles: Sequence[Ensemble], *, batch_size: int, length: int, operations_per_second: float, budget_seconds: float
) -> Steps:
    """Compiles the run's own dispatch and times it; a shorter one, or one of fewer rows, where the counts say that is too long.

    Args:
      ensembles: all of the sweep.
      batch_size: B.
      length: steps of a dispatch.
      operations_per_second: of matrix products of this size.
      budget_seconds: for the steps, if products were all of them.
    """

    begin = time.monotonic()
    states, programs = _begun(ensembles, batch_size, length)
    begin_seconds = time.monotonic() - begin
    memory = {e.group.name: _memory(e, s, p, batch_size, length) for e, s, p in zip(ensembles, states, programs)}
    a_step = operations(ensembles, batch_size) / operations_per_second
    n = min(length, max(1, int(budget_seconds / a_step)))
    rows = max(2, min(batch_size, int(batch_size * budget_seconds / a_step)))
    inputs = [_inputs(e, rows, n, np.random.default_rng(0).standard_normal) for e in ensembles]
    if (n, rows) != (length, batch_size):
        for e, state, given in zip(ensembles, states, inputs):
            e.compile(state, given)
    start = time.monotonic()
    ended = jax.block_until_ready([e.steps(state, given)[0] for e, state, given in zip(ensembles, states, inputs)])
    seconds = (time.monotonic() - start) / n * batch_size / rows
    return Steps(begin_seconds, seconds, memory, ended)


def _begun(ensembles: Sequence[Ensemble], batch_size: int, length: int) -> tuple[list[TrainState], list[Any]]:
    """States and programs of all, made at once, as the training loop makes them."""
    starts = [jnp.zeros(e.group.frame.width_out) for e in ensembles]
    shapes = [jax.eval_shape(lambda e=e: _inputs(e, batch_size, length)) for e in ensembles]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        begun = [pool.submit(e.init, b) for e, b in zip(ensembles, starts)]
        made = [pool.submit(e.compile, jax.eval_shape(e.init, b), s) for e, b, s in zip(ensembles, starts, shapes)]
        return jax.block_until_ready([f.result() for f in begun]), [f.result() for f in made]


def _inputs(e: Ensemble, batch_size: int, length: int, make: Callable[..., np.ndarray] = np.zeros) -> Inputs:
    """Rows of a dispatch, of mean square 1 as scaled rows are."""
    frame, one = e.group.frame, jnp.float32(1)

    def rows(width: int) -> jax.Array:
        return jnp.asarray(make((length, batch_size, width)), jnp.bfloat16)

    return Inputs(rows(frame.d_in), rows(frame.width_out) if e.group.sites.target else None, one, one)


def _memory(e: Ensemble, state: TrainState, program: Any, batch_size: int, length: int) -> StepMemory:
    """Reads XLA's account of a compiled dispatch."""
    parameters = counts.tree_bytes(state.params)
    moments = counts.tree_bytes(state) - parameters
    frame = e.group.frame
    rows = 2 * length * batch_size * (frame.d_in + (frame.width_out if e.group.sites.target else 0))
    temporary = program.memory_analysis().temp_size_in_bytes
    activations = max(0, temporary - parameters)
    a_latent_array = len(e.group.members) * batch_size * frame.d_sae * counts.FLOAT32_BYTES
    return StepMemory(parameters, moments, rows, min(parameters, temporary), activations, activations / a_latent_array)
