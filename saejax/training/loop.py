"""The host loop: one pass over the data feeds every ensemble; metrics are read a dispatch late.

Rows of the next dispatch are read by a thread while the device works; the first ones are read while all ensembles are compiled,
at once. Checkpoints hold the state of all ensembles; since rows are a function of the step and dispatches end at fixed steps, a
resumed run is bit for bit the run that never stopped.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from saejax import console, machine
from saejax.checkpoint import Checkpoints
from saejax.errors import InputError
from saejax.metrics_log import MetricsLog, Mirror
from saejax.training.ensemble import Ensemble, Inputs
from saejax.training.step import TrainState

_DISPATCH_BYTES = 64 * 2**20


class ActivationSource(Protocol):
    """Rows to train on.

    `batches` is pure in the step: the same step always gives the same rows, so resuming needs no iterator state.
    """

    width: int
    n_rows: int

    def batches(self, step: int, n_steps: int) -> np.ndarray:
        """The rows of steps `step` to `step + n_steps − 1`, bfloat16 [n_steps, B, D]."""
        ...


class Resampling(NamedTuple):
    """When dead latents are made anew, in steps.

    Attributes:
      every: between two times; 0 for never.
      times: in all.
      window: how long a latent must have been silent.
      n_batches: batches that inputs are chosen from.
    """

    every: int = 0
    times: int = 4
    window: int = 1
    n_batches: int = 1

    def due(self, step: int) -> bool:
        """Whether it is time after so many steps."""
        return bool(self.every) and step % self.every == 0 and 0 < step <= self.every * self.times


class Rhythm(NamedTuple):
    """When things happen, in steps."""

    n_steps: int
    log_every: int
    checkpoint_every: int
    resampling: Resampling = Resampling()

    def dispatch(self, bytes_a_step: int) -> int:
        """Steps in one dispatch: a divisor of both intervals, of at most 64 MB of rows."""
        common = math.gcd(self.log_every, self.checkpoint_every)
        fits = [d for d in range(1, common + 1) if common % d == 0 and d * bytes_a_step <= _DISPATCH_BYTES]
        return max(fits, default=1)

    def steps_from(self, step: int, length: int) -> int:
        """Steps of the dispatch that begins at `step`: at most `length`, and none past a line, a checkpoint, a resampling or
        the end."""
        intervals = [every for every in (self.log_every, self.checkpoint_every, self.resampling.every) if every]
        next_stop = min((step // every + 1) * every for every in intervals)
        return min(length, next_stop - step, self.n_steps - step)


class Trained(NamedTuple):
    """What a training ends with.

    Attributes:
      states: each ensemble's, with a leading axis M.
      steps_done: by this process.
      seconds_to_first_step: from the start of the process to the end of the first step, taken as one of the first dispatch's
        equal parts; None where none was left to make.
    """

    states: list[TrainState]
    steps_done: int
    seconds_to_first_step: float | None


def train(
    ensembles: Sequence[Ensemble],
    sources: Mapping[str, ActivationSource],
    *,
    batch_size: int,
    scales: Mapping[str, float],
    b_dec: Mapping[str, np.ndarray],
    rhythm: Rhythm,
    checkpoint_directory: Path,
    metrics_path: Path,
    mirror: Mirror | None = None,
    task: str = "train",
) -> Trained:
    """Trains all ensembles to the end, going on from the newest checkpoint if there is one.

    Args:
      ensembles: groups, ready to train.
      sources: {hook_name: rows}.
      batch_size: B, rows a step.
      scales: {hook_name: factor on the rows}.
      b_dec: {hook_name: where the biases of decoders that write there start, [D], in scaled units}.
      rhythm: of steps, lines of metrics, checkpoints and resampling.
      checkpoint_directory, metrics_path: where they go.
      mirror: called with each line of metrics, to show it elsewhere too.
      task: the name that progress and metrics go by.

    Raises:
      InputError: a loss that is not finite; it names step and member, and the last good checkpoint stays.
    """
    scaled = {hook: jnp.float32(scale) for hook, scale in scales.items()}
    starts = [jnp.asarray(b_dec[e.group.sites.written], jnp.float32) for e in ensembles]
    bytes_a_step = sum(2 * batch_size * source.width for source in sources.values())
    length = rhythm.dispatch(bytes_a_step)
    with Checkpoints(checkpoint_directory) as checkpoints, ThreadPoolExecutor(1) as reader:
        start = step = checkpoints.latest_step or 0

        def read_rows(step: int, n: int) -> dict[str, np.ndarray]:
            return {hook: source.batches(step, n) for hook, source in sources.items()}

        def inputs(e: Ensemble, rows: Mapping[str, Any]) -> Inputs:
            read, target = e.group.sites.hook_name, e.group.sites.target
            return Inputs(rows[read], rows[target] if target else None, scaled[read], scaled[target or read])

        upcoming = reader.submit(read_rows, step, rhythm.steps_from(step, length)) if step < rhythm.n_steps else None
        states = _compiled_and_begun(ensembles, starts, inputs, upcoming, checkpoints)
        if start:
            console.log(f"{task}: going on from step {start:,}")
        with (
            MetricsLog(metrics_path, task, start, mirror) as metrics,
            console.progress(task, rhythm.n_steps * batch_size, "rows", start * batch_size) as advance,
        ):
            reading = _Reading(ensembles, metrics, checkpoints, advance, rhythm, batch_size, task)

            while step < rhythm.n_steps:
                rows = {hook: jnp.asarray(x_SxBxD) for hook, x_SxBxD in upcoming.result().items()}
                n = rhythm.steps_from(step, length)
                if step + n < rhythm.n_steps:
                    upcoming = reader.submit(read_rows, step + n, rhythm.steps_from(step + n, length))
                results = []
                for i, e in enumerate(ensembles):
                    states[i], values = e.steps(states[i], inputs(e, rows))
                    results.append(values)
                step += n
                reading.read_pending()
                reading.pending = (step, n, results)
                if rhythm.resampling.due(step) and step < rhythm.n_steps:
                    rows = reader.submit(
                        read_rows, step, rhythm.resampling.n_batches
                    ).result()  # sources are read by one thread
                    pairs = [e.resample(s, inputs(e, rows), rhythm.resampling.window) for e, s in zip(ensembles, states)]
                    states = [state for state, _ in pairs]
                    reading.resampled(step, [np.asarray(n_made_M) for _, n_made_M in pairs])
                if step % rhythm.checkpoint_every == 0 or step == rhythm.n_steps:
                    reading.read_pending()  # so that no state is kept whose losses have not been seen to be finite
                    reading.check_parameters(states, step)
                    metrics.flush()
                    checkpoints.save(step, states)
    return Trained(states, rhythm.n_steps - start, reading.seconds_to_first_step)


def _compiled_and_begun(
    ensembles: Sequence[Ensemble],
    starts: Sequence[jax.Array],
    inputs: Callable[[Ensemble, Mapping[str, Any]], Inputs],
    first_rows: Future[dict[str, np.ndarray]] | None,
    checkpoints: Checkpoints,
) -> list[TrainState]:
    """Each ensemble's state to go on from; meanwhile, the programs of all are compiled, as many at once as there are cores."""
    templates = [jax.eval_shape(e.init, b) for e, b in zip(ensembles, starts)]

    def compile_steps(e: Ensemble, template: TrainState) -> None:
        rows = {hook: jax.ShapeDtypeStruct(x.shape, x.dtype) for hook, x in first_rows.result().items()}
        e.compile(template, inputs(e, rows))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        fresh = not checkpoints.latest_step
        begun = [pool.submit(e.init, b) for e, b in zip(ensembles, starts)] if fresh else []
        compiled = [pool.submit(compile_steps, e, t) for e, t in zip(ensembles, templates)] if first_rows else []
        states = [f.result() for f in begun] if fresh else checkpoints.restore(checkpoints.latest_step, templates)
        for program in compiled:
            program.result()
    return states


@jax.jit
def _finite_members(params: Any) -> jax.Array:
    """bool [M]: whether all of a member's parameters are finite."""
    leaves = [jnp.isfinite(a).reshape(a.shape[0], -1).all(1) for a in jax.tree.leaves(params)]
    return jnp.stack(leaves).all(0)


class _Reading:
    """Brings metrics to the host: checks that losses are finite, averages them between lines, writes the lines."""

    def __init__(
        self, ensembles, metrics: MetricsLog, checkpoints: Checkpoints, advance, rhythm: Rhythm, batch_size: int, task: str
    ):
        self._task = task
        self._ensembles, self._metrics, self._checkpoints, self._advance = ensembles, metrics, checkpoints, advance
        self._rhythm, self._batch_size = rhythm, batch_size
        self._n_members = sum(len(e.group.members) for e in ensembles)
        self._collected: list[list[dict[str, np.ndarray]]] = [[] for _ in ensembles]
        self._resampled = self._none_resampled()
        self.pending: tuple[int, int, list[dict[str, jax.Array]]] | None = None
        self._seconds_before = machine.seconds_since_start()
        self.seconds_to_first_step: float | None = None

    def read_pending(self) -> None:
        """Reads the dispatch `pending`: (the step after it, its steps, each ensemble's metrics [S, M])."""
        if self.pending is None:
            return
        (step, n, results), self.pending = self.pending, None
        fvus = []
        for e, collected, values in zip(self._ensembles, self._collected, results):
            host = {name: np.asarray(a, np.float64) for name, a in values.items()}
            self._check(e, host["loss"], step - n)
            collected.append(host)
            fvus.append(host["fvu"][-1])
        if self.seconds_to_first_step is None:
            before = self._seconds_before
            self.seconds_to_first_step = round(before + (machine.seconds_since_start() - before) / n, 2)
        self._advance(n * self._batch_size, f"{self._n_members} SAEs, mean FVU {np.concatenate(fvus).mean():.3f}")
        if step % self._rhythm.log_every == 0 or step == self._rhythm.n_steps:
            self._write(step)

    def check_parameters(self, states: Sequence[TrainState], step: int) -> None:
        """Raises where the update of the last step, whose loss was finite, was not."""
        for e, state in zip(self._ensembles, states):
            finite_M = np.asarray(_finite_members(state.params))
            if not finite_M.all():
                self._stop(e, int(np.argmin(finite_M)), "the parameters", "not finite", step - 1)

    def _none_resampled(self) -> list[np.ndarray]:
        return [np.zeros(len(e.group.members), int) for e in self._ensembles]

    def resampled(self, step: int, n_made: list[np.ndarray]) -> None:
        """Takes how many latents of each ensemble's members [M] were made anew, for the next line."""
        self._resampled = n_made
        groups = ", ".join(f"{int(n_M.sum()):,} of {e.group.name}" for e, n_M in zip(self._ensembles, n_made) if n_M.any())
        console.log(f"{self._task}: step {step:,}: dead latents resampled: {groups or 'none'}")

    def _check(self, e: Ensemble, loss_SxM: np.ndarray, first_step: int) -> None:
        if not np.isfinite(loss_SxM).all():
            step, member = (int(i) for i in np.argwhere(~np.isfinite(loss_SxM))[0])
            self._stop(e, member, "the loss", loss_SxM[step, member], first_step + step)

    def _stop(self, e: Ensemble, member: int, what: str, value: Any, step: int) -> None:
        raise InputError(
            f"{self._task}: {what} of {e.group.members[member].name} became {value} at step {step}; "
            f"{self._checkpoints.kept}: lower --learning_rate, or set "
            "--gradient_clip=1, and start in another --workdir"
        )

    def _write(self, step: int) -> None:
        """One line a member: the means since the last line."""
        for i, (e, collected) in enumerate(zip(self._ensembles, self._collected)):
            means = {name: np.concatenate([host[name] for host in collected]).mean(0) for name in collected[0]}
            for m, member in enumerate(e.group.members):
                values: dict[str, Any] = {name: float(a[m]) for name, a in means.items()}
                if self._rhythm.resampling.every:
                    values["resampled"] = int(self._resampled[i][m])
                self._metrics.write(step, step * self._batch_size, member=member.name, **values)
            collected.clear()
        self._resampled = self._none_resampled()
        self._metrics.flush()
