"""What the flags say, checked against the model, the text and the registry before any work starts."""

from __future__ import annotations

from collections.abc import Sequence

from saejax.config import Config
from saejax.errors import InputError
from saejax.lm import corpus, sites
from saejax.tasks import inputs, pretrain, tracking, train
from saejax.workdir import Workdir


def all_flags(config: Config, workdir: Workdir, tasks: Sequence[str]) -> None:
    """Raises InputError for the first thing that cannot work."""
    tracking.check(config)
    if not (workdir.path / "tokens").exists():
        corpus.check(config.dataset, split=config.dataset_split, text_column=config.text_column)
    if "pretrain" in tasks:
        pretrain.check(config)
    if set(tasks) <= {"pretrain"}:
        return
    lm = inputs.model_config(config, workdir, tasks)
    sites.check_sites(config.hook_name, lm.n_layer)
    if config.context_size > lm.n_positions:
        raise InputError(
            f"--context_size={config.context_size}: {config.model} has {lm.n_positions} positions; give at most that many"
        )
    if config.checkpoint_every_steps % config.log_every_steps:
        raise InputError(
            f"--checkpoint_every_steps={config.checkpoint_every_steps}: must be a multiple of "
            f"--log_every_steps={config.log_every_steps}, so that a resumed run writes the same metrics"
        )
    train.grid(config, lm)
    train.n_steps(config)
