"""The text that `--tasks=features` looks at: what evaluation holds out, or as much more as `--feature_tokens` asks for."""

from __future__ import annotations

import dataclasses

from saejax import console
from saejax.config import Config
from saejax.errors import InputError
from saejax.features.text import Text
from saejax.lm import corpus, tokenizer, tokens, weights
from saejax.lm.tokens import TokenWindows
from saejax.tasks import inputs
from saejax.workdir import Workdir

FOLDER = "tokens_features"


def read(config: Config, workdir: Workdir) -> Text:
    """The first `--feature_tokens` tokens of the split, in whole windows.

    Held-out text is that of the evaluation where it is long enough; else it is tokenised once more, further, into
    `tokens_features/`: documents come in the same order, so that what the evaluation has is the beginning of it.
    """
    windows = _windows(config, workdir)
    n_windows = -(-config.feature_tokens // config.context_size)
    windows = dataclasses.replace(windows, tokens_NxL=windows.tokens_NxL[:n_windows])
    end_of_text = tokenizer.load(inputs.model_directory(config, workdir)).token_to_id(weights.END_OF_TEXT)
    return Text(windows, inputs.kept_positions(config, windows, end_of_text).reshape(-1), end_of_text)


def _windows(config: Config, workdir: Workdir) -> TokenWindows:
    own = workdir.path / FOLDER
    if not own.exists():
        windows = inputs.windows(config, workdir)[config.feature_split]
        if config.feature_split == "train" or windows.tokens_NxL.size >= config.feature_tokens:
            if windows.tokens_NxL.size < config.feature_tokens:
                console.log(
                    f"features: {windows.tokens_NxL.size:,} tokens are kept for training (--store_tokens); all are taken"
                )
            return windows
        _tokenise(config, workdir)
    return tokens.load(own)["held_out"]


def _tokenise(config: Config, workdir: Workdir) -> None:
    console.log(f"features: reading more held-out text of {config.dataset}")
    splits = tokens.pack(
        corpus.documents(config.dataset, split=config.dataset_split, text_column=config.text_column),
        tokenizer.load(inputs.model_directory(config, workdir)),
        context_size=config.context_size,
        n_train=0,
        n_held_out=config.feature_tokens,
        held_out_fraction=config.held_out_fraction,
        prepend_bos=config.prepend_bos,
    )
    found = splits["held_out"].tokens_NxL.size
    if not found:
        raise InputError(f"--dataset={config.dataset}: the held-out split has less than one window; give more text")
    if found < config.feature_tokens:
        console.log(f"features: the text ends early: {found:,} held-out tokens, of {config.feature_tokens:,} wanted")
    tokens.save(splits, workdir.path / FOLDER)
