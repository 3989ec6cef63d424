"""`--tasks=features`: autoencoders, held-out text, GPT-2 → `features/<member>/`, and on request `neuronpedia/`.

A member whose records are there is not done again; the others do not depend on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import jax.numpy as jnp

from saejax import console, files
from saejax.config import Config
from saejax.errors import InputError
from saejax.evaluation.splice import LanguageModel, Spliced
from saejax.features import member as member_lib
from saejax.features import records
from saejax.features.attributes import attributes
from saejax.features.described import Source
from saejax.features.examples import Choice
from saejax.features.member import About, Settings
from saejax.features.rules import Rules
from saejax.features.schemas import Meta
from saejax.features.vocabulary import vocabulary
from saejax.lm import labels, tokenizer, weights
from saejax.lm.gpt2 import GPT2Config
from saejax.tasks import feature_export, feature_text, inputs, members
from saejax.workdir import Workdir

if TYPE_CHECKING:
    from tokenizers import Tokenizer

RECOMMENDED = "recommended"


def do(config: Config, workdir: Workdir) -> dict:
    """Collects what is not there yet; returns how much there is."""
    directory = inputs.model_directory(config, workdir)
    lm, params = weights.load(directory)
    found = {name: spliced for name, (_, spliced) in members.read(config, workdir, lm).items()}
    names = _chosen(config, workdir, list(found))
    left = [name for name in names if name not in records.members(workdir.path / "features")]
    if left:
        _collect(config, workdir, LanguageModel(params, lm, jnp.dtype(config.dtype)), {name: found[name] for name in left})
    metas = {name: records.read_meta(workdir.path / "features" / name) for name in names}
    if config.neuronpedia:
        feature_export.write(config, workdir, names)
    _table(metas)
    return {
        "members": names,
        "rows": max(meta.n_rows for meta in metas.values()),
        "seconds_of_members": {name: round(sum(meta.seconds.values()), 2) for name, meta in metas.items()},
    }


def missing(config: Config, workdir: Workdir) -> list[str]:
    """What a complete task has not left: records of the members that are there now, and the export where it is asked for."""
    lm = weights.load_config(inputs.model_directory(config, workdir))
    names = _chosen(config, workdir, [about.name for about in members.listed(config, workdir, lm)])
    there = records.members(workdir.path / "features")
    lacking = [f"features/{name}" for name in names if name not in there]
    return lacking or (feature_export.missing(config, workdir, names) if config.neuronpedia else [])


def check(config: Config, workdir: Workdir, tasks: Sequence[str], lm: GPT2Config) -> None:
    """Raises InputError for what cannot work, before any work."""
    if RECOMMENDED in config.feature_members:
        if "evaluate" not in tasks and not (workdir.path / "evaluation.json").exists():
            raise InputError(f"--feature_members={RECOMMENDED}: no evaluation.json yet; add evaluate to --tasks")
    elif config.feature_members and not {"train", "finetune"} & set(tasks):
        _chosen(config, workdir, [about.name for about in members.listed(config, workdir, lm)])
    if config.feature_steering_tokens >= config.context_size - 1:
        raise InputError(
            f"--feature_steering_tokens={config.feature_steering_tokens}: with the prompt longer than "
            f"--context_size={config.context_size}; lower it"
        )
    if config.model != "lm" or "pretrain" not in tasks:
        _prompt(config, tokenizer.load(inputs.model_directory(config, workdir)))


def _chosen(config: Config, workdir: Workdir, there: list[str]) -> list[str]:
    """The members that `--feature_members` means, of those that are there, in their order."""
    wanted = set(config.feature_members)
    if RECOMMENDED in wanted:
        recommended = files.read_json(workdir.path / "evaluation.json")["recommended"].values()
        wanted = wanted - {RECOMMENDED} | {about["member"] for about in recommended}
    unknown = sorted(wanted - set(there))
    if unknown:
        raise InputError(f"--feature_members={unknown[0]}: not among the autoencoders; there are {', '.join(there)}")
    return [name for name in there if not wanted or name in wanted]


def _prompt(config: Config, bpe: Tokenizer) -> tuple[int, ...]:
    """The prompt's tokens, `<|endoftext|>` first."""
    tokens = bpe.encode(config.feature_prompt, add_special_tokens=False).ids
    if len(tokens) + 1 + config.feature_steering_tokens > config.context_size:
        raise InputError(
            f"--feature_prompt={config.feature_prompt[:40]}: {len(tokens)} tokens, and --feature_steering_tokens="
            f"{config.feature_steering_tokens} more, do not fit in --context_size={config.context_size}; shorten one"
        )
    return (bpe.token_to_id(weights.END_OF_TEXT), *tokens)


def _collect(config: Config, workdir: Workdir, model: LanguageModel, left: Mapping[str, Spliced]) -> None:
    text = feature_text.read(config, workdir)
    bpe = tokenizer.load(inputs.model_directory(config, workdir))
    shown = vocabulary(bpe, model.config.vocab_size)
    known = attributes(text, shown, labels.of_windows(text.windows, bpe))
    source = Source(model, text, shown, Rules(known))
    about = {
        "name": config.model,
        "n_layer": model.config.n_layer,
        "d_model": model.config.n_embd,
        "n_inner": model.config.inner,
        "vocab_size": model.config.vocab_size,
    }
    path = workdir.path / "evaluation.json"
    measured = files.read_json(path)["members"] if path.exists() else {}
    settings = settings_of(config, bpe)
    for name, spliced in left.items():
        console.log(f"features: {name}")
        own = {key: value for key, value in measured.get(name, {}).items() if isinstance(value, float | int)}
        directory = workdir.path / "features" / name
        member_lib.write(directory, About(name, about, config.dataset, own), source, spliced, settings)


def settings_of(config: Config, bpe: Tokenizer) -> Settings:
    """What the flags say of features."""
    return Settings(
        choice=Choice(
            n_top=config.feature_top_examples,
            n_intervals=config.feature_intervals,
            n_of_interval=config.feature_interval_examples,
            before=config.feature_tokens_before,
            after=config.feature_tokens_after,
            seed=config.feature_seed,
        ),
        n_ablated=config.feature_ablations,
        n_affected=config.feature_affected,
        prompt=config.feature_prompt,
        prompt_tokens=_prompt(config, bpe),
        strengths=config.feature_strengths if config.feature_steering_tokens else (),
        n_continued=config.feature_steering_tokens,
        exclude_first=config.exclude_special,
        seed=config.feature_seed,
        batch_tokens=config.eval_batch_size,
    )


def _table(metas: Mapping[str, Meta]) -> None:
    header = ["autoencoder", "latents", "alive", "labelled", "rows", "ablations", "steered", "seconds", "memory"]
    rows = [
        [
            name,
            *(f"{n:,}" for n in (m.d_sae, m.n_alive, m.n_labelled, m.n_rows, m.n_ablated, m.n_steered)),
            f"{sum(m.seconds.values()):.1f}",
            f"{m.peak_memory_bytes / 2**30:.1f} GiB",
        ]
        for name, m in metas.items()
    ]
    console.table("Features", header, rows)
