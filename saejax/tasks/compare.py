"""`--tasks=compare`: saejax against PyTorch, turn by turn → `comparison.json`, `plots/comparison.png` and tables."""

from __future__ import annotations

import dataclasses
import math
import os
from pathlib import Path

import numpy as np

from saejax import files
from saejax import flags as flags_lib
from saejax.activations.statistics import geometric_median
from saejax.activations.store import StoredActivations
from saejax.comparison import contenders, extraction, planted, plot, report, store, training, whole_runs
from saejax.config import Config
from saejax.errors import InputError
from saejax.lm import sites, weights
from saejax.lm.gpt2 import GPT2Config
from saejax.sae.registry import ARCHITECTURES
from saejax.sae.scaling import PER_ROW
from saejax.tasks import inputs, sweep, train
from saejax.training.grid import Group
from saejax.workdir import Workdir

RANDOM = "random"  # --model=random
_HELD_ROWS = 256
_PLANTED_SITE = "blocks.0.hook_resid_post"


def do(config: Config, workdir: Workdir) -> dict:
    """Makes the comparisons that `--compare` lists, and shows them."""
    lm, groups = _model(config, workdir), []
    found: dict = {}
    if {"train", "store"} & set(config.compare):
        groups = _groups(config, lm)
    options = sweep.step_options(config)
    peers = {"peers": config.compare_with, "n_rounds": config.compare_rounds}
    if "train" in config.compare:
        found["train"] = {
            group.name: training.compare(group, options, _rows(config, workdir, group), **peers, compile=config.compare_compile)
            for group in groups
        }
    if "extract" in config.compare:
        found["extract"] = extraction.compare(
            lm,
            None if config.model == RANDOM else inputs.model_directory(config, workdir),
            config.hook_name,
            windows=config.extract_batch_size // config.context_size,
            length=config.context_size,
            dtype=config.dtype,
            seed=config.shuffle_seed,
            **peers,
        )
    if "store" in config.compare:
        found["store"] = store.compare(
            inputs.activations_directory(workdir, config.hook_name[0]),
            groups[0],
            options,
            batch_size=config.batch_size,
            seed=config.shuffle_seed,
            n_steps=sweep.n_steps(config),
            n_rounds=config.compare_rounds,
        )
    if "sweep" in config.compare:
        found["sweep"] = whole_runs.compare(_flagfile(config), _alone(config, lm))
    files.write_json(_json(workdir), {"cores": os.cpu_count(), "rounds": config.compare_rounds, **found})
    (workdir.path / "plots").mkdir(exist_ok=True)
    plot.draw(_png(workdir), found)
    report.show(found)
    return {"compared": list(found)}


def missing(config: Config, workdir: Workdir) -> list[str]:
    """What a complete task has left, and that is not there."""
    return files.absent([_json(workdir), _png(workdir)])


def check(config: Config, workdir: Workdir, tasks: list[str]) -> None:
    """Raises InputError for what cannot be compared, before any work.

    Raises:
      InputError: an architecture, form, site or option that has no twin; a peer that is not installed; a model that is not
        for this; rows that are not there.
    """
    # Several processes share an accelerator while contenders are measured: none may take all of its memory.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    contenders.check(config.compare_with, config.architecture, config.compare)
    if config.model == RANDOM and set(config.compare) & {"store", "sweep"}:
        raise InputError(
            "--model=random: has no tokenizer, so nothing can be stored or swept; name a model, or leave out those"
        )
    if config.lm_n_embd % config.lm_n_head:
        raise InputError(f"--lm_n_head={config.lm_n_head}: must divide --lm_n_embd={config.lm_n_embd}; change one of them")
    if config.compare_d_in and "store" in config.compare:
        raise InputError(f"--compare_d_in={config.compare_d_in}: --compare=store reads what is stored; leave it out")
    needs_store = "store" in config.compare or ("train" in config.compare and not config.compare_d_in)
    stored = [(inputs.activations_directory(workdir, hook) / "progress.json").exists() for hook in config.hook_name]
    if needs_store and "extract" not in tasks and not all(stored):
        raise InputError(
            f"--compare={','.join(config.compare)}: no activations of {config.hook_name[0]} in {workdir.path}; add extract to "
            "--tasks, or, to train on planted rows, give --compare_d_in=<width>"
        )
    if "extract" in config.compare:
        from saejax.reference import gpt2 as twin

        twin.check(config.hook_name)
        sites.check_sites(config.hook_name, _model(config, workdir).n_layer)
        if config.extract_batch_size < config.context_size:
            raise InputError(
                f"--extract_batch_size={config.extract_batch_size}: less than a window of --context_size="
                f"{config.context_size} tokens; raise it"
            )
    if "train" in config.compare:
        _check_training(config, _groups(config, _model(config, workdir)))


def _check_training(config: Config, groups: list[Group]) -> None:
    from saejax.reference import registry

    for group in groups:
        registry.check(group.architecture, group.options)
    sweep.n_steps(config)
    refused = {
        "target_hook_name": ((), "transcoders have no PyTorch twin; leave it out"),
        "optimizer": ("adam", "the PyTorch twin has Adam only; leave it out"),
        "resample_every_steps": (0, "the PyTorch twin does not resample; leave it out"),
    }
    for name, (allowed, why) in refused.items():
        value = getattr(config, name)
        if value != allowed:
            raise InputError(f"--{name}={','.join(value) if isinstance(value, tuple) else value}: {why}")
    if config.normalize_activations in PER_ROW:
        raise InputError(
            f"--normalize_activations={config.normalize_activations}: the PyTorch twin scales all rows alike; use none or "
            "expected_average_only_in"
        )


def _json(workdir: Workdir) -> Path:
    return workdir.path / "comparison.json"


def _png(workdir: Workdir) -> Path:
    return workdir.path / "plots" / "comparison.png"


def _model(config: Config, workdir: Workdir) -> GPT2Config:
    """Sizes of `--model`; of a stand-in as wide as `--compare_d_in` where no model is needed."""
    if config.model == RANDOM:
        return inputs.lm_from_flags(config, config.lm_vocab_size)
    if set(config.compare) <= {"train"} and config.compare_d_in:
        return GPT2Config(1, 1, config.compare_d_in, 1, 1)
    return weights.load_config(inputs.model_directory(config, workdir))


def _groups(config: Config, lm: GPT2Config) -> list[Group]:
    if config.compare_d_in:
        config = dataclasses.replace(config, hook_name=(_PLANTED_SITE,))
        lm = dataclasses.replace(lm, n_embd=config.compare_d_in)
    return sweep.grid(config, lm)


def _rows(config: Config, workdir: Workdir, group: Group) -> training.Rows:
    """Batches for the compared steps, and up to 256 rows more, whose latents are compared."""
    S, B, D = config.compare_steps, config.batch_size, group.frame.d_in
    n_held = min(_HELD_ROWS, B)
    if config.compare_d_in:
        rows_NxD = planted.rows(S * B + n_held, D, config.shuffle_seed)
        x_SxBxD, held_BxD = rows_NxD[: S * B].reshape(S, B, D), rows_NxD[S * B :]
        scale = math.sqrt(D) / float(np.linalg.norm(rows_NxD.astype(np.float32), axis=1).mean())
        scale = scale if config.normalize_activations == "expected_average_only_in" else 1.0
    else:
        directory = inputs.activations_directory(workdir, group.sites.hook_name)
        source = StoredActivations(directory, batch_size=B, seed=config.shuffle_seed)
        x_SxBxD, held_BxD = source.batches(0, S), source.batches(S, 1)[0, :n_held]
        scale = train.scale(config, source)
    seen_NxD = scale * x_SxBxD.reshape(-1, D).astype(np.float32)
    b_dec_D = {
        "zeros": lambda: np.zeros(D),
        "mean": lambda: seen_NxD.mean(0),
        "geometric_median": lambda: geometric_median(seen_NxD),
    }
    return training.Rows(x_SxBxD, held_BxD, b_dec_D[config.b_dec_init](), scale)


def _flagfile(config: Config) -> str:
    """The sweep itself, text to evaluation, without its folder and what is compared."""
    defaults = {name: getattr(Config, name) for name in dir(Config) if name.startswith("compare")}
    whole = dataclasses.replace(config, tasks=("extract", "train", "evaluate"), push_to_hub="", wandb_project="", **defaults)
    return "".join(line + "\n" for line in flags_lib.to_flagfile(whole).splitlines() if not line.startswith("--workdir="))


def _alone(config: Config, lm: GPT2Config) -> dict[str, str]:
    """{member: the flagfile of a run that has it alone}."""
    found = {}
    for group in sweep.grid(config, lm):
        own = ARCHITECTURES[group.architecture]
        lists = {name for row in ARCHITECTURES.values() for name in row.hparams}
        options = {name for row in ARCHITECTURES.values() for name in row.options} - own.options.keys()
        for member in group.members:
            found[member.name] = _flagfile(
                dataclasses.replace(
                    config,
                    architecture=(group.architecture,),
                    hook_name=(group.sites.hook_name,),
                    target_hook_name=(group.sites.target,) if group.sites.target else (),
                    d_sae=(group.frame.d_sae,),
                    learning_rate=(member.hparams["learning_rate"],),
                    seed=(member.seed,),
                    **{name: getattr(Config, name) for name in options},
                    **{
                        name: (member.hparams[name],) if name in own.hparams and getattr(config, name) else () for name in lists
                    },
                )
            )
    return found
