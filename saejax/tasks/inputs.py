"""What several tasks read: the language model of `--model` and the windows of `--dataset`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from saejax import console
from saejax.config import Config
from saejax.errors import InputError
from saejax.lm import corpus, gpt2, tokenizer, tokens, weights
from saejax.lm.tokens import TokenWindows
from saejax.workdir import Workdir


def model_directory(config: Config, workdir: Workdir) -> Path:
    """Where `--model` lies."""
    return workdir.path / "lm" if config.model == "lm" else weights.find(config.model)


def model_config(config: Config, workdir: Workdir, tasks: Sequence[str]) -> gpt2.GPT2Config:
    """The sizes of `--model`: read from its directory, or, where `pretrain` is still to make it, from the flags.

    Raises:
      InputError: a model that is not there, or has no tokenizer that can be used.
    """
    directory = model_directory(config, workdir)
    if config.model == "lm" and not directory.is_dir():
        if "pretrain" not in tasks:
            raise InputError(f"--model=lm: {workdir.path} has no lm/; add pretrain to --tasks, or name another model")
        return lm_from_flags(config, config.lm_vocab_size)
    lm, _ = weights.load(directory)
    n_tokens = tokenizer.load(directory).get_vocab_size()
    if n_tokens > lm.vocab_size:
        raise InputError(
            f"--model={config.model}: its tokenizer has {n_tokens:,} tokens, its config.json only {lm.vocab_size:,}; "
            "put the model's own tokenizer beside it"
        )
    return lm


def lm_from_flags(config: Config, vocab_size: int) -> gpt2.GPT2Config:
    """The GPT-2 that `--tasks=pretrain` makes."""
    return gpt2.GPT2Config(vocab_size, config.context_size, config.lm_n_embd, config.lm_n_layer, config.lm_n_head)


def hooks(config: Config) -> tuple[str, ...]:
    """Every site whose activations are needed: those that are read and those that transcoders predict."""
    return tuple(dict.fromkeys((*config.hook_name, *config.target_hook_name)))


def activations_directory(workdir: Workdir, hook_name: str) -> Path:
    """Where a site's activations lie."""
    return workdir.path / "activations" / hook_name


def windows(config: Config, workdir: Workdir) -> dict[str, TokenWindows]:
    """Both splits' windows: made once, then read from the work directory.

    Raises:
      InputError: text too short for one window of each split.
    """
    directory = workdir.path / "tokens"
    if not directory.exists():
        console.log(f"tokenise: reading {config.dataset}")
        splits = tokens.pack(
            corpus.documents(config.dataset, split=config.dataset_split, text_column=config.text_column),
            tokenizer.load(model_directory(config, workdir)),
            context_size=config.context_size,
            n_train=config.store_tokens,
            n_held_out=config.eval_tokens,
            held_out_fraction=config.held_out_fraction,
            prepend_bos=config.prepend_bos,
        )
        for name, split in splits.items():
            if not len(split.tokens_NxL):
                raise InputError(
                    f"--dataset={config.dataset}: the {name.replace('_', '-')} split has less than one window of "
                    f"--context_size={config.context_size} tokens; give more text, or a smaller context"
                )
        for name, wanted in (("train", config.store_tokens), ("held_out", config.eval_tokens)):
            found = splits[name].tokens_NxL.size
            if found < wanted:
                console.log(f"tokenise: the text ends early: {found:,} tokens for the {name} split, of {wanted:,} wanted")
        tokens.save(splits, directory)
    return tokens.load(directory)


def kept_positions(config: Config, split: TokenWindows, end_of_text: int) -> np.ndarray:
    """bool [N, L]: the positions whose activations the autoencoders are for (`--exclude_special`)."""
    if config.exclude_special:
        return ~split.special_mask(end_of_text)
    return np.ones(split.tokens_NxL.shape, bool)
