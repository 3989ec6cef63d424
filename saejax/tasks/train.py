"""`--tasks=train`: activations → every autoencoder of the sweep → `checkpoints/`, `metrics.jsonl`, `saes/<member>/`."""

from __future__ import annotations

import math
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from saejax.activations.store import StoredActivations
from saejax.config import Config
from saejax.errors import InputError
from saejax.interop import saelens
from saejax.lm import sites, weights
from saejax.lm.gpt2 import GPT2Config
from saejax.sae.inference import InferenceSAE
from saejax.sae.registry import ARCHITECTURES
from saejax.tasks import inputs, tracking
from saejax.training import loop
from saejax.training.ensemble import Ensemble, ensemble, member
from saejax.training.grid import Group, groups
from saejax.training.schedules import Schedules
from saejax.training.step import StepOptions, TrainState
from saejax.workdir import Workdir

DENSITY_ROWS = 65_536


def do(config: Config, workdir: Workdir) -> dict:
    """Trains the whole grid on one pass over the rows, then exports each member; returns rates and counts."""
    sources = {
        hook: StoredActivations(
            inputs.activations_directory(workdir, hook), batch_size=config.batch_size, seed=config.shuffle_seed
        )
        for hook in config.hook_name
    }
    steps = n_steps(config)
    lm = weights.load_config(inputs.model_directory(config, workdir))
    options = StepOptions(
        Schedules(steps, config.lr_warm_up_steps, round(config.lr_decay_fraction * steps), config.sparsity_warm_up_steps),
        gradient_clip=config.gradient_clip,
        dead_window_steps=config.dead_window_steps,
    )
    ensembles = [ensemble(group, options) for group in grid(config, lm)]
    scales = {hook: _scale(config, source) for hook, source in sources.items()}
    start = time.monotonic()
    states, steps_done = loop.train(
        ensembles,
        sources,
        batch_size=config.batch_size,
        scales=scales,
        b_dec={hook: scales[hook] * source.statistics.mean_D for hook, source in sources.items()},
        rhythm=loop.Rhythm(steps, config.log_every_steps, config.checkpoint_every_steps),
        checkpoint_directory=workdir.path / "checkpoints",
        metrics_path=workdir.path / "metrics.jsonl",
        mirror=tracking.mirror(config, workdir),
    )
    seconds = time.monotonic() - start
    for e, state in zip(ensembles, states):
        hook = e.group.hook_name
        rows = sources[hook].first_rows(DENSITY_ROWS)
        for m in range(len(e.group.members)):
            _export(config, workdir, e, state, m, scales[hook], rows)
    n_members = sum(len(e.group.members) for e in ensembles)
    return {
        "steps": steps,
        "members": n_members,
        "groups": len(ensembles),
        "member_rows_per_second": round(n_members * steps_done * config.batch_size / seconds),
    }


def outputs(config: Config, workdir: Workdir) -> list[Path]:
    """What a complete task has left."""
    lm = weights.load_config(inputs.model_directory(config, workdir))
    return [workdir.path / "saes" / m.name / "cfg.json" for group in grid(config, lm) for m in group.members]


def n_steps(config: Config) -> int:
    """Updates in all."""
    n = config.training_tokens // config.batch_size
    if not n:
        raise InputError(
            f"--training_tokens={config.training_tokens}: less than one step of --batch_size={config.batch_size}; raise it"
        )
    return n


def grid(config: Config, lm: GPT2Config) -> list[Group]:
    """The sweep that the flags say, on the sites of a GPT-2.

    Raises:
      InputError: a list or an option that the chosen architectures cannot use.
    """
    for name, architectures in _takers_of_options().items():
        value = getattr(config, name)
        if value != getattr(Config, name) and not architectures & set(config.architecture):
            raise InputError(
                f"--{name}={value}: --architecture={','.join(config.architecture)} takes no {name}; leave it out, or add "
                f"{' or '.join(sorted(architectures))}"
            )
    return groups(
        widths={hook: sites.site_width(hook, n_embd=lm.n_embd, n_inner=lm.inner) for hook in config.hook_name},
        architectures=config.architecture,
        d_saes=config.d_sae,
        expansion_factors=config.expansion_factor,
        learning_rates=config.learning_rate,
        seeds=config.seed,
        hparams={name: getattr(config, name) for row in ARCHITECTURES.values() for name in row.hparams},
        options={name: getattr(config, name) for row in ARCHITECTURES.values() for name in row.options},
    )


def _takers_of_options() -> dict[str, set[str]]:
    """{option: the architectures that take it}."""
    names = {name for row in ARCHITECTURES.values() for name in row.options}
    return {name: {a for a, row in ARCHITECTURES.items() if name in row.options} for name in names}


def _scale(config: Config, source: StoredActivations) -> float:
    """The factor on rows while training: √d_in over their mean norm (SAELens's `expected_average_only_in`), or 1."""
    if config.normalize_activations == "none":
        return 1.0
    return math.sqrt(source.width) / source.statistics.mean_norm


def _export(
    config: Config, workdir: Workdir, e: Ensemble, state: TrainState, m: int, scale: float, rows_NxD: np.ndarray
) -> None:
    """Writes one member for raw activations, with its settings."""
    hparams = {name: values[m] for name, values in e.hparams.items()}
    sae = e.sae.export(member(state.params, m), hparams)
    if sae.activation == "relu":
        sae = sae.with_unit_decoder()
    sae = sae.for_raw_input(scale)
    about = e.group.members[m]
    metadata = {
        "model_name": config.model,
        "hook_name": e.group.hook_name,
        "context_size": config.context_size,
        "prepend_bos": config.prepend_bos,
        "dataset_path": config.dataset,
        "exclude_special_tokens": config.exclude_special,
        "saejax": {"architecture": e.group.architecture, "seed": about.seed, **about.hparams, **e.group.options},
    }
    saelens.save(workdir.path / "saes" / about.name, sae, metadata=metadata, density_F=_density(sae, rows_NxD))


def _density(sae: InferenceSAE, rows_NxD: np.ndarray, batch: int = 4096) -> np.ndarray:
    """Share of rows on which each latent fires, float64 [F]."""
    batches = [rows_NxD[i : i + batch] for i in range(0, len(rows_NxD), batch)]
    return sum(np.asarray(_count_fired(sae, rows), np.float64) for rows in batches) / len(rows_NxD)


@jax.jit
def _count_fired(sae: InferenceSAE, x_BxD: jax.Array) -> jax.Array:
    return jnp.sum(sae.encode(x_BxD.astype(jnp.float32)) > 0, axis=0)
