"""Trained members → `saes/<member>/`, in SAELens's format, for raw activations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from saejax.activations.store import StoredActivations
from saejax.config import Config
from saejax.interop import saelens
from saejax.sae.inference import InferenceSAE
from saejax.sae.scaling import PER_ROW
from saejax.training.ensemble import Ensemble, member
from saejax.training.grid import Group
from saejax.training.step import TrainState
from saejax.workdir import Workdir

DENSITY_ROWS, DENSITY_BATCH = 65_536, 4096


def members(
    config: Config,
    workdir: Workdir,
    ensembles: Sequence[Ensemble],
    states: Sequence[TrainState],
    sources: Mapping[str, StoredActivations],
    scales: Mapping[str, float],
) -> None:
    """Writes every member of every ensemble."""
    for e, state in zip(ensembles, states):
        rows = sources[e.group.sites.hook_name].first_rows(DENSITY_ROWS)
        for m in range(len(e.group.members)):
            _export(config, workdir, e, state, m, scales, rows)


def directories(workdir: Workdir, groups: Sequence[Group]) -> list[Path]:
    """Where the members of some groups are kept."""
    return [workdir.path / "saes" / m.name for group in groups for m in group.members]


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


def _density(sae: InferenceSAE, rows_NxD: np.ndarray, batch: int = DENSITY_BATCH) -> np.ndarray:
    """Share of rows on which each latent fires, float64 [F]."""
    batches = [rows_NxD[i : i + batch] for i in range(0, len(rows_NxD), batch)]
    return sum(np.asarray(count_fired(sae, rows), np.float64) for rows in batches) / len(rows_NxD)


@jax.jit
def count_fired(sae: InferenceSAE, x_BxD: jax.Array) -> jax.Array:
    """On how many rows each latent fires, int [F]."""
    return jnp.sum(sae.encode(x_BxD.astype(jnp.float32)) > 0, axis=0)
