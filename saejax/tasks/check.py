"""What the flags say, checked against the model, the text and the registry before any work starts."""

from __future__ import annotations

from collections.abc import Sequence

from saejax.config import Config
from saejax.errors import InputError
from saejax.lm import corpus, sites
from saejax.tasks import inputs, members, pretrain, publish, sweep, tracking
from saejax.workdir import Workdir


def all_flags(config: Config, workdir: Workdir, tasks: Sequence[str]) -> None:
    """Raises InputError for the first thing that cannot work."""
    tracking.check(config)
    publish.check(config, workdir, list(tasks))
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
    for group in sweep.grid(config, lm):
        if config.k_anneal_from and (group.options.get("k_max") or group.architecture == "group_max"):
            raise InputError(
                f"--k_anneal_from={config.k_anneal_from}: {group.architecture} is made for its own k; leave it out"
            )
    sweep.n_steps(config)
    if "train" in tasks and len(config.sae) > 1:
        raise InputError(f"--sae={','.join(config.sae)}: training starts from one; give one, or leave train out of --tasks")
    members.given(config, lm)
