"""`--tasks=train`: activations → every autoencoder of the sweep → `checkpoints/`, `metrics.jsonl`, `saes/<member>/`."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from saejax.activations.statistics import geometric_median
from saejax.activations.store import StoredActivations
from saejax.config import Config
from saejax.interop import saelens
from saejax.lm import weights
from saejax.sae.inference import InferenceSAE
from saejax.sae.scaling import PER_ROW, normalize
from saejax.tasks import inputs, sweep, tracking
from saejax.training import loop
from saejax.training.ensemble import Ensemble, ensemble, member
from saejax.training.step import TrainState
from saejax.workdir import Workdir

DENSITY_ROWS = 65_536
SAMPLE_ROWS = 16_384


def do(config: Config, workdir: Workdir) -> dict:
    """Trains the whole grid on one pass over the rows, then exports each member; returns rates and counts."""
    sources = {
        hook: StoredActivations(
            inputs.activations_directory(workdir, hook), batch_size=config.batch_size, seed=config.shuffle_seed
        )
        for hook in inputs.hooks(config)
    }
    lm = weights.load_config(inputs.model_directory(config, workdir))
    scales = {hook: _scale(config, source) for hook, source in sources.items()}
    options = sweep.step_options(config)
    ensembles = [ensemble(group, options, normalize_rows=config.normalize_activations) for group in sweep.grid(config, lm)]
    rhythm = sweep.rhythm(config)
    start = time.monotonic()
    states, steps_done = loop.train(
        ensembles,
        sources,
        batch_size=config.batch_size,
        scales=scales,
        b_dec={e.group.sites.written: _b_dec(config, sources, scales, e.group.sites.written) for e in ensembles},
        rhythm=rhythm,
        checkpoint_directory=workdir.path / "checkpoints",
        metrics_path=workdir.path / "metrics.jsonl",
        mirror=tracking.mirror(config, workdir),
    )
    seconds = time.monotonic() - start
    for e, state in zip(ensembles, states):
        rows = sources[e.group.sites.hook_name].first_rows(DENSITY_ROWS)
        for m in range(len(e.group.members)):
            _export(config, workdir, e, state, m, scales, rows)
    n_members = sum(len(e.group.members) for e in ensembles)
    return {
        "steps": rhythm.n_steps,
        "members": n_members,
        "groups": len(ensembles),
        "member_rows_per_second": round(n_members * steps_done * config.batch_size / seconds),
    }


def outputs(config: Config, workdir: Workdir) -> list[Path]:
    """What a complete task has left."""
    lm = weights.load_config(inputs.model_directory(config, workdir))
    return [workdir.path / "saes" / m.name / "cfg.json" for group in sweep.grid(config, lm) for m in group.members]


def _scale(config: Config, source: StoredActivations) -> float:
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


def _export(
    config: Config,
    workdir: Workdir,
    e: Ensemble,
    state: TrainState,
    m: int,
    scales: Mapping[str, float],
    rows_NxD: np.ndarray,
) -> None:
    """Writes one member for raw activations, with its settings."""
    hparams = {name: values[m] for name, values in e.hparams.items()}
    sites = e.group.sites
    sae = e.sae.export(member(state.params, m), hparams)
    if sae.activation in ("relu", "jumprelu", "gated"):
        sae = sae.with_unit_decoder()
    sae = sae.for_raw_input(scales[sites.hook_name], scales[sites.written])
    if config.normalize_activations in PER_ROW:
        sae = sae.replace(normalize_activations=config.normalize_activations)
    about = e.group.members[m]
    metadata = {
        "model_name": config.model,
        "hook_name": sites.hook_name,
        "context_size": config.context_size,
        "prepend_bos": config.prepend_bos,
        "dataset_path": config.dataset,
        "exclude_special_tokens": config.exclude_special,
        "saejax": {"architecture": e.group.architecture, "seed": about.seed, **about.hparams, **e.group.options},
    }
    if sites.target:
        metadata["hook_name_out"] = sites.target
    saelens.save(workdir.path / "saes" / about.name, sae, metadata=metadata, density_F=_density(sae, rows_NxD))


def _density(sae: InferenceSAE, rows_NxD: np.ndarray, batch: int = 4096) -> np.ndarray:
    """Share of rows on which each latent fires, float64 [F]."""
    batches = [rows_NxD[i : i + batch] for i in range(0, len(rows_NxD), batch)]
    return sum(np.asarray(_count_fired(sae, rows), np.float64) for rows in batches) / len(rows_NxD)


@jax.jit
def _count_fired(sae: InferenceSAE, x_BxD: jax.Array) -> jax.Array:
    return jnp.sum(sae.encode(x_BxD.astype(jnp.float32)) > 0, axis=0)
