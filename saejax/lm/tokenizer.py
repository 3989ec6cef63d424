"""The byte-level BPE tokenizer of a model directory, and training one from scratch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from saejax import files
from saejax.errors import InputError
from saejax.lm.weights import END_OF_TEXT

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def load(directory: Path) -> Tokenizer:
    """Reads a directory's tokenizer; `<|endoftext|>` in a text is encoded as plain text, not as the special token.

    Raises:
      InputError: no tokenizer there, or one without `<|endoftext|>`.
    """
    from tokenizers import Tokenizer

    path = Path(directory) / "tokenizer.json"
    if path.is_file():
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # `tokenizers` raises the bare class
            raise InputError(f"{path}: not a readable tokenizer ({error}); save the tokenizer again") from error
    elif (Path(directory) / "vocab.json").is_file() and (Path(directory) / "merges.txt").is_file():
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(str(directory), trust_remote_code=False).backend_tokenizer
    else:
        raise InputError(f"{directory}: no tokenizer.json, nor vocab.json and merges.txt; save the tokenizer beside the model")
    if tokenizer.token_to_id(END_OF_TEXT) is None:
        raise InputError(f"{directory}: its tokenizer has no {END_OF_TEXT}; use GPT-2's, or one trained by --tasks=pretrain")
    tokenizer.encode_special_tokens = True
    tokenizer.no_truncation()  # some are saved with the lengths of a batch they once made
    tokenizer.no_padding()
    return tokenizer


def train(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Trains a byte-level BPE (Radford et al. 2019) with `<|endoftext|>` as token 0."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=[END_OF_TEXT], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.encode_special_tokens = True
    return tokenizer


def save(tokenizer: Tokenizer, directory: Path, context_size: int) -> None:
    """Writes `tokenizer.json` and `tokenizer_config.json`, which `transformers.AutoTokenizer` loads."""
    directory.mkdir(parents=True, exist_ok=True)
    files.write_text(directory / "tokenizer.json", tokenizer.to_str())
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context_size,
        **{f"{name}_token": END_OF_TEXT for name in ("bos", "eos", "unk")},
    }
    files.write_json(directory / "tokenizer_config.json", settings)
