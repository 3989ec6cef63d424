"""`--tasks=train`: activations → every autoencoder of the sweep → `checkpoints/`, `metrics.jsonl`, `saes/<member>/`."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from saejax import files
from saejax.activations.statistics import geometric_median
from saejax.activations.store import StoredActivations
from saejax.config import Config
from saejax.lm import weights
from saejax.sae.scaling import PER_ROW, normalize
from saejax.tasks import export, inputs, starts, sweep, tracking
from saejax.training import loop
from saejax.training.ensemble import ensemble
from saejax.workdir import Workdir

SAMPLE_ROWS = 16_384


def do(config: Config, workdir: Workdir) -> dict:
    """Trains the whole grid on one pass over the rows, then exports each member; returns rates and counts."""
    sources = stores(config, workdir)
    lm = weights.load_config(inputs.model_directory(config, workdir))
    scales = {hook: scale(config, source) for hook, source in sources.items()}
    options = sweep.step_options(config)
    b_dec = {hook: _b_dec(config, sources, scales, hook) for hook in sources}
    ensembles = [
        ensemble(
            group,
            options,
            normalize_rows=config.normalize_activations,
            params=starts.adopted(config, group, b_dec[group.sites.written], scales),
        )
        for group in sweep.grid(config, lm)
    ]
    rhythm = sweep.rhythm(config)
    start = time.monotonic()
    trained = loop.train(
        ensembles,
        sources,
        batch_size=config.batch_size,
        scales=scales,
        b_dec=b_dec,
        rhythm=rhythm,
        checkpoint_directory=workdir.path / "checkpoints",
        metrics_path=workdir.path / "metrics.jsonl",
        mirror=tracking.mirror(config, workdir),
    )
    seconds = time.monotonic() - start
    export.members(config, workdir, ensembles, trained.states, sources, scales)
    n_members = sum(len(e.group.members) for e in ensembles)
    return {
        "steps": rhythm.n_steps,
        "members": n_members,
        "groups": len(ensembles),
        "member_rows_per_second": round(n_members * trained.steps_done * config.batch_size / seconds),
        "seconds_to_first_step": trained.seconds_to_first_step,
    }


def missing(config: Config, workdir: Workdir) -> list[str]:
    """What a complete task has left, and that is not there."""
    lm = weights.load_config(inputs.model_directory(config, workdir))
    return files.absent(export.directories(workdir, sweep.grid(config, lm)))


def stores(config: Config, workdir: Workdir) -> dict[str, StoredActivations]:
    """{hook_name: stored rows} of every site of the sweep."""
    return {
        hook: StoredActivations(
            inputs.activations_directory(workdir, hook), batch_size=config.batch_size, seed=config.shuffle_seed
        )
        for hook in inputs.hooks(config)
    }


def scale(config: Config, source: StoredActivations) -> float:
    """The factor on all rows while training: √d_in over their mean norm (SAELens's `expected_average_only_in`), or 1."""
    if config.normalize_activations != "expected_average_only_in":
        return 1.0
    return math.sqrt(source.width) / source.statistics.mean_norm


def _b_dec(config: Config, sources: Mapping[str, StoredActivations], scales: Mapping[str, float], hook: str) -> np.ndarray:
    """Where the biases of decoders that write at a site start, float64 [E], in scaled units."""
    source = sources[hook]
    if config.b_dec_init == "zeros":
        return np.zeros(source.width)
    if config.b_dec_init == "mean" and config.normalize_activations not in PER_ROW:
        return scales[hook] * source.statistics.mean_D
    rows = source.batches(0, max(1, SAMPLE_ROWS // config.batch_size)).reshape(-1, source.width).astype(np.float32)
    rows = np.asarray(normalize(jnp.asarray(scales[hook] * rows), config.normalize_activations)[0])
    return geometric_median(rows) if config.b_dec_init == "geometric_median" else rows.mean(0, dtype=np.float64)
