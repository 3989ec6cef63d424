"""`--plan` of `train`: a dispatch of the sweep's own ensembles on random rows."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp

from saejax.activations.store import CHUNK_BYTES, CHUNKS_A_GROUP
from saejax.config import Config
from saejax.interop import saelens
from saejax.planning import counts, forecast, measure, steps
from saejax.planning.forecast import Forecast
from saejax.sae.inference import InferenceSAE
from saejax.tasks import export, sweep
from saejax.tasks.plan_extract import Extract
from saejax.training.ensemble import Ensemble, ensemble, member

STEPS_SECONDS = 6.0
GROUP_BYTES = CHUNKS_A_GROUP * CHUNK_BYTES


class Train(NamedTuple):
    """What was measured.

    Attributes:
      ensembles: of the sweep.
      steps: their steps.
      length: steps of a dispatch.
      exported: one member of each ensemble, as it will be kept.
      density_seconds: of the first batch of rows of each ensemble's first member, with compilation, and of each batch then.
      save_seconds: of a member's files.
      write_rate: bytes a second to disk.
      held_bytes, peak_bytes: of the process's memory before, and at most.
    """

    ensembles: list[Ensemble]
    steps: steps.Steps
    length: int
    exported: list[InferenceSAE]
    density_seconds: tuple[float, float]
    save_seconds: float
    write_rate: float
    held_bytes: int
    peak_bytes: int

    @property
    def n_members(self) -> int:
        """Of all ensembles."""
        return sum(len(e.group.members) for e in self.ensembles)


def rehearse(config: Config, e: Extract, folder: Path) -> Train:
    """Measures."""
    options = sweep.step_options(config)
    ensembles = [ensemble(g, options, normalize_rows=config.normalize_activations) for g in sweep.grid(config, e.lm)]
    length = min(sweep.rhythm(config).dispatch(2 * config.batch_size * sum(e.widths.values())), sweep.n_steps(config))
    frame = ensembles[0].group.frame
    rate = measure.operations_per_second(config.batch_size, frame.d_in, frame.d_sae, jnp.dtype(frame.dtype))
    done = measure.once(
        lambda: steps.steps(
            ensembles,
            batch_size=config.batch_size,
            length=length,
            operations_per_second=rate,
            budget_seconds=STEPS_SECONDS,
        )
    )
    made: steps.Steps = done.result
    exported = [_exported(one, state) for one, state in zip(ensembles, made.states)]
    start = time.monotonic()
    saelens.save(folder / "sae", exported[0], metadata={}, density_F=jnp.zeros(exported[0].W_dec.shape[0]))
    save_seconds = time.monotonic() - start
    first, later = _density(exported)
    return Train(
        ensembles,
        made,
        length,
        exported,
        (first, later),
        save_seconds,
        measure.write_rate(folder),
        done.held_bytes,
        done.peak_bytes,
    )


def _exported(e: Ensemble, state) -> InferenceSAE:
    return e.sae.export(member(state.params, 0), {name: values[0] for name, values in e.hparams.items()})


def _density(exported: list[InferenceSAE]) -> tuple[float, float]:
    """Seconds of compiling the count of firing latents for all, and of a batch of it, on average."""

    def count() -> None:
        for sae in exported:
            jax.block_until_ready(export.count_fired(sae, jnp.ones((export.DENSITY_BATCH, sae.W_enc.shape[0]), jnp.bfloat16)))

    first = measure.once(count).seconds
    later = measure.repeated(count, budget_seconds=0.5)
    return max(0.0, first - later), later / len(exported)


def forecast_of(config: Config, e: Extract, t: Train) -> Forecast:
    """What `train` takes."""
    n_steps = sweep.n_steps(config)
    state_bytes = counts.tree_bytes(t.steps.states)
    row_bytes = sum(counts.BFLOAT16_BYTES * width for width in e.widths.values())
    read_bytes = counts.store_reads_bytes(n_steps * config.batch_size, e.n_rows, row_bytes)
    written = counts.written_checkpoints(n_steps, config.checkpoint_every_steps)
    tail = 1 if n_steps % t.length else 0  # the last, shorter dispatch is a program of its own
    seconds = {
        "compilation": (1 + tail) * t.steps.begin_seconds,
        "steps": n_steps * t.steps.step_seconds,
        "reading rows": read_bytes * e.store.read_seconds,
        "checkpoints": written * state_bytes / t.write_rate,
        "export": export_seconds(e, t),
    }
    frames = [(one.group.frame, len(one.group.members)) for one in t.ensembles]
    exports = sum(n * counts.export_bytes(f.d_in, f.width_out, f.d_sae) for f, n in frames)
    disk = counts.kept_checkpoints(n_steps, config.checkpoint_every_steps) * state_bytes + exports
    # Besides: a group of rows, while the first is read with nothing else there, while others are with all the rest; the next
    # dispatch's rows twice, as they wait and as they are handed over; and the copy of the state that is written.
    group = min(e.n_rows * row_bytes, GROUP_BYTES * len(e.widths))
    reading = round(e.store.group_rise * group)
    rest = t.peak_bytes + 2 * t.length * config.batch_size * row_bytes + state_bytes
    another = n_steps * config.batch_size * row_bytes > group
    peak = rest + reading if another else max(rest + group, t.held_bytes + reading)
    return Forecast("train", seconds, disk, peak, n_steps * steps.operations(t.ensembles, config.batch_size))


def export_seconds(e: Extract, t: Train) -> float:
    """Of counting how often latents fire, and of writing the members."""
    batches = -(-min(export.DENSITY_ROWS, e.n_rows) // export.DENSITY_BATCH)
    return t.density_seconds[0] + t.n_members * (batches * t.density_seconds[1] + t.save_seconds)


def memory_lines(t: Train) -> list[str]:
    """The memory of each ensemble's step, by XLA's account."""
    return [
        f"step of {name}: {forecast.size(m.total)}: parameters {forecast.size(m.parameters)}, moments "
        f"{forecast.size(m.moments)}, gradients {forecast.size(m.gradients)}, rows {forecast.size(m.rows)}, activations "
        f"{forecast.size(m.activations)}, which are {m.n_latent_arrays:.2f} arrays [B, F] a member"
        for name, m in t.steps.memory.items()
    ]
