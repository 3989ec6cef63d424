"""What the flags say, checked against the model, the text and the registry before any work starts."""

from __future__ import annotations

from collections.abc import Sequence

from saejax.config import Config
from saejax.errors import InputError
from saejax.lm import corpus, sites
from saejax.sae.registry import ARCHITECTURES
from saejax.tasks import compare, finetune, inputs, members, pretrain, publish, starts, sweep, tracking
from saejax.training.grid import Group
from saejax.workdir import Workdir


def all_flags(config: Config, workdir: Workdir, tasks: Sequence[str]) -> None:
    """Raises InputError for the first thing that cannot work."""
    tracking.check(config)
    publish.check(config, workdir, list(tasks))
    if config.model == compare.RANDOM and set(tasks) != {"compare"}:
        raise InputError("--model=random: only --tasks=compare, alone, can use it; name another model")
    if "compare" in tasks:
        compare.check(config, workdir, list(tasks))
        if set(tasks) == {"compare"} and "sweep" not in config.compare:
            return
    if not (workdir.path / "tokens").exists():
        corpus.check(config.dataset, split=config.dataset_split, text_column=config.text_column)
    if "pretrain" in tasks:
        pretrain.check(config)
    if set(tasks) <= {"pretrain"}:
        return
    lm = inputs.model_config(config, workdir, tasks)
    sites.check_sites(inputs.hooks(config), lm.n_layer)
    if config.context_size > lm.n_positions:
        raise InputError(
            f"--context_size={config.context_size}: {config.model} has {lm.n_positions} positions; give at most that many"
        )
    if config.checkpoint_every_steps % config.log_every_steps:
        raise InputError(
            f"--checkpoint_every_steps={config.checkpoint_every_steps}: must be a multiple of "
            f"--log_every_steps={config.log_every_steps}, so that a resumed run writes the same metrics"
        )
    groups = sweep.grid(config, lm)
    _check_annealing(config, groups)
    sweep.step_options(config)
    if "train" in tasks and config.sae:
        starts.check(config, groups)
    members.given(config, lm)
    if "finetune" in tasks:
        finetune.n_steps(config)
    if "features" in tasks:
        from saejax.tasks import features  # this, and the next two: libraries that other runs need not wait for

        features.check(config, workdir, tasks, lm)
    if "interface" in tasks:
        from saejax.tasks import interface

        interface.check(workdir, tasks)
    if "serve" in tasks:
        from saejax.tasks import serve

        serve.check(config, workdir, tasks)


def _check_annealing(config: Config, groups: Sequence[Group]) -> None:
    if not config.k_anneal_from:
        return
    for group in groups:
        row = ARCHITECTURES[group.architecture]
        if row.divides_k:
            raise InputError(
                f"--k_anneal_from={config.k_anneal_from}: {group.architecture} is made for its own k; leave it out"
            )
        if config.k_anneal_from > group.frame.d_sae:
            raise InputError(
                f"--k_anneal_from={config.k_anneal_from}: more than the {group.frame.d_sae} latents of {group.name}; lower it"
            )
    if not any("k" in group.members[0].hparams for group in groups):
        raise InputError(
            f"--k_anneal_from={config.k_anneal_from}: --architecture={','.join(config.architecture)} has no k; leave it out"
        )
