"""`--tasks=finetune`: trained members, a little further with an end-to-end loss → `saes/<member>-<loss>/`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from saejax import files
from saejax.activations.harvest import TokenBatches
from saejax.checkpoint import Checkpoints
from saejax.config import Config
from saejax.errors import InputError
from saejax.evaluation import downstream
from saejax.lm import gpt2, tokenizer, weights
from saejax.lm.gpt2 import GPT2Config
from saejax.sae.base import Params, SparseAutoencoder
from saejax.tasks import export, inputs, sweep, tracking, train
from saejax.training import loop
from saejax.training.end_to_end import end_to_end
from saejax.training.ensemble import Ensemble, ensemble
from saejax.training.grid import Group
from saejax.training.schedules import Schedules
from saejax.workdir import Workdir


def do(config: Config, workdir: Workdir) -> dict:
    """Goes on from the last checkpoint of `train`, with a fresh optimizer; returns rates and counts."""
    directory = inputs.model_directory(config, workdir)
    lm, params = weights.load(directory)
    special = tokenizer.load(directory).token_to_id(weights.END_OF_TEXT) if config.exclude_special else None
    sources = train.stores(config, workdir)
    scales = {hook: train.scale(config, source) for hook, source in sources.items()}
    starts = _trained(config, workdir, sweep.grid(config, lm))
    steps = n_steps(config)
    ensembles = spliced(config, lm, params, special, scales, starts)
    windows = inputs.windows(config, workdir)["train"]
    n_windows = batch_windows(config)
    text = TokenBatches(windows.tokens_NxL, batch_windows=n_windows, seed=config.shuffle_seed)
    start = time.monotonic()
    trained = loop.train(
        ensembles,
        {hook: text for hook in inputs.hooks(config)},
        batch_size=n_windows * config.context_size,
        scales={hook: 1.0 for hook in sources},
        b_dec={hook: jnp.zeros(source.width) for hook, source in sources.items()},
        rhythm=loop.Rhythm(steps, config.log_every_steps, config.checkpoint_every_steps),
        checkpoint_directory=workdir.path / "checkpoints_finetune",
        metrics_path=workdir.path / "metrics.jsonl",
        mirror=tracking.mirror(config, workdir),
        task="finetune",
    )
    seconds = time.monotonic() - start
    export.members(config, workdir, ensembles, trained.states, sources, scales)
    n_members = sum(len(e.group.members) for e in ensembles)
    rows = n_members * trained.steps_done * n_windows * config.context_size
    return {"steps": steps, "members": n_members, "member_rows_per_second": round(rows / seconds)}


def spliced(
    config: Config,
    lm: GPT2Config,
    params: gpt2.Params,
    special: int | None,
    scales: Mapping[str, float],
    starts: Sequence[Params],
) -> list[Ensemble]:
    """The sweep's ensembles with the end-to-end loss, which read windows of tokens.

    Args:
      config: the flags.
      lm, params: the GPT-2.
      special: the token whose rows are left out, as each window's first is; None for none.
      scales: {hook_name: factor on the rows}.
      starts: each ensemble's parameters, with a leading axis M.
    """
    options = sweep.step_options(config)
    steps = n_steps(config)
    options = options._replace(
        schedules=Schedules(
            steps, lr_warm_up_steps=min(config.lr_warm_up_steps, steps), lr_decay_steps=round(config.lr_decay_fraction * steps)
        ),
        microbatch_size=0,
    )
    ensembles = []
    for group, start in zip(groups(config, lm), starts):
        splice = downstream.Splice(
            config=lm,
            dtype=jnp.dtype(config.dtype),
            reads=group.sites.hook_name,
            writes=group.sites.written,
            x_scale=scales[group.sites.hook_name],
            y_scale=scales[group.sites.written],
            normalize_rows=config.normalize_activations,
            special=special,
        )
        ensembles.append(
            ensemble(
                group,
                options,
                params=start,
                wrap=_held_to_the_model(splice, config),
                prepare=lambda tokens_BxL, params, splice=splice: downstream.read(params, splice, tokens_BxL),
                constants=params,
            )
        )
    return ensembles


def _held_to_the_model(splice: downstream.Splice, config: Config):
    """(sae, GPT-2's parameters) -> the autoencoder whose loss is what it does to the model's predictions."""

    def wrap(sae: SparseAutoencoder, params: Params) -> SparseAutoencoder:
        return end_to_end(sae, downstream.damage(params, splice, config.finetune_loss), config.finetune_weight)

    return wrap


def missing(config: Config, workdir: Workdir) -> list[str]:
    """What a complete task has left, and that is not there."""
    lm = weights.load_config(inputs.model_directory(config, workdir))
    return files.absent(export.directories(workdir, groups(config, lm)))


def n_steps(config: Config) -> int:
    """Updates in all."""
    batch_tokens = batch_windows(config) * config.context_size
    if config.finetune_tokens < batch_tokens:
        raise InputError(
            f"--finetune_tokens={config.finetune_tokens}: less than one step of {batch_tokens} tokens "
            "(--finetune_batch_size, in whole windows of --context_size); raise it"
        )
    return config.finetune_tokens // batch_tokens


def batch_windows(config: Config) -> int:
    """Windows a step."""
    return max(1, config.finetune_batch_size // config.context_size)


def groups(config: Config, lm: GPT2Config) -> list[Group]:
    """The sweep's groups, as they are called after fine-tuning and with its learning rate."""
    loss, rate = config.finetune_loss, config.finetune_learning_rate

    def renamed(group: Group) -> Group:
        members = [
            m._replace(name=f"{m.name}-{loss}", label=f"{m.label} +{loss}", hparams={**m.hparams, "learning_rate": rate})
            for m in group.members
        ]
        return group._replace(name=f"{group.name}-{loss}", members=tuple(members))

    return [renamed(group) for group in sweep.grid(config, lm)]


def _trained(config: Config, workdir: Workdir, groups: list[Group]) -> list[Params]:
    """Each group's parameters at the end of `train`, with a leading axis M."""
    ensembles = [ensemble(group, sweep.step_options(config)) for group in groups]
    templates = [jax.eval_shape(e.init, jnp.zeros(e.group.frame.width_out)) for e in ensembles]
    with Checkpoints(workdir.path / "checkpoints") as checkpoints:
        if checkpoints.latest_step != sweep.n_steps(config):
            raise InputError(f"--tasks=finetune: {workdir.path} holds no finished training; run --tasks=train first")
        states = checkpoints.restore(checkpoints.latest_step, templates)
    return [state.params for state in states]
