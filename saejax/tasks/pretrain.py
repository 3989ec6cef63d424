"""`--tasks=pretrain`: text → tokenizer → a GPT-2 from scratch → `lm/`, a HuggingFace directory with a model card."""

from __future__ import annotations

import shutil
from pathlib import Path

import jax.numpy as jnp

from saejax import console, files
from saejax.config import Config
from saejax.errors import InputError
from saejax.lm import corpus, model_card, ngram, pretrain, tokenizer, tokens, weights
from saejax.tasks import inputs, tracking
from saejax.workdir import Workdir

CHARACTERS_A_TOKEN = 8  # more than text has, so that enough of it is read
HELD_OUT_TOKENS = 400_000


def do(config: Config, workdir: Workdir) -> dict:
    """Trains and writes the model; returns its held-out losses and the text's fingerprints."""
    folder = workdir.path / "pretrain"
    if not (folder / "tokens").exists():
        _prepare_text(config, folder)
    splits = tokens.load(folder / "tokens")
    train_NxL, held_out_NxL = splits["train"].tokens_NxL, splits["held_out"].tokens_NxL
    if not len(train_NxL) or not len(held_out_NxL):
        raise InputError(
            f"--dataset={config.dataset}: too little text for one window of --context_size={config.context_size} in each "
            "split; give more text or a smaller context"
        )
    bpe = tokenizer.load(folder)
    lm = inputs.lm_from_flags(config, bpe.get_vocab_size())
    how = recipe(config)
    params = pretrain.train(
        lm,
        how,
        train_NxL,
        held_out_NxL,
        checkpoint_directory=folder / "checkpoints",
        metrics_path=workdir.path / "metrics.jsonl",
        mirror=tracking.mirror(config, workdir),
        checkpoint_every_steps=config.checkpoint_every_steps,
        log_every_steps=config.log_every_steps,
    )
    losses = ngram.held_out_losses(train_NxL, held_out_NxL, lm.vocab_size)
    losses["gpt2"] = pretrain.held_out_loss(params, held_out_NxL, config=lm, dtype=jnp.float32)
    rows = [[name, f"{loss:.4f}"] for name, loss in losses.items()]
    console.table("Held-out loss", ["model", "nats a token"], rows)

    partial = workdir.path / ".lm.partial"
    shutil.rmtree(partial, ignore_errors=True)
    weights.save(partial, lm, params, end_of_text_token=bpe.token_to_id(weights.END_OF_TEXT))
    tokenizer.save(bpe, partial, config.context_size)
    files.write_text(partial / "README.md", model_card.text(config.dataset, lm, how, splits, losses))
    shutil.rmtree(workdir.path / "lm", ignore_errors=True)  # there only if the run was killed before it was recorded
    partial.rename(workdir.path / "lm")
    return {"losses": losses, "text": {name: split.fingerprint for name, split in splits.items()}}


def missing(config: Config, workdir: Workdir) -> list[str]:
    """What a complete task has left, and that is not there."""
    return files.absent([workdir.path / "lm" / name for name in ("config.json", "model.safetensors", "tokenizer.json")])


def check(config: Config) -> None:
    """Raises InputError for a training that cannot be."""
    how = recipe(config)
    if config.lm_n_embd % config.lm_n_head:
        raise InputError(f"--lm_n_head={config.lm_n_head}: must divide --lm_n_embd={config.lm_n_embd}; choose another")
    if config.lm_batch_size < config.context_size:
        raise InputError(
            f"--lm_batch_size={config.lm_batch_size}: less than one window of --context_size={config.context_size}"
        )
    if how.warm_up_steps >= how.n_steps:
        raise InputError(
            f"--lm_warm_up_steps={how.warm_up_steps}: --lm_tokens={config.lm_tokens} are only {how.n_steps} steps of "
            f"--lm_batch_size={config.lm_batch_size}; lower it"
        )


def recipe(config: Config) -> pretrain.Recipe:
    """How the flags say that the model is trained."""
    batch_windows = max(1, config.lm_batch_size // config.context_size)
    return pretrain.Recipe(
        n_steps=max(1, config.lm_tokens // (batch_windows * config.context_size)),
        warm_up_steps=config.lm_warm_up_steps,
        batch_windows=batch_windows,
        learning_rate=config.lm_learning_rate,
        weight_decay=config.lm_weight_decay,
        gradient_clip=config.lm_gradient_clip,
        dtype=jnp.dtype(config.lm_dtype),
        seed=config.lm_seed,
    )


def _prepare_text(config: Config, folder: Path) -> None:
    """Reads the text once, trains the tokenizer on its training documents, and writes the packed windows."""
    documents = []
    characters_left = most = CHARACTERS_A_TOKEN * config.lm_text_tokens
    with console.progress("read", most, "characters") as advance:
        for document in corpus.documents(config.dataset, split=config.dataset_split, text_column=config.text_column):
            documents.append(document)
            advance(len(document.text))
            characters_left -= len(document.text)
            if characters_left <= 0:
                break
    if not documents:
        raise InputError(f"--dataset={config.dataset}: no text in it; give one with text")
    fraction = config.held_out_fraction
    console.log(f"pretrain: training a tokenizer of {config.lm_vocab_size:,} tokens on {len(documents):,} documents")
    bpe = tokenizer.train((d.text for d in documents if not d.is_held_out(fraction)), config.lm_vocab_size)
    tokenizer.save(bpe, folder, config.context_size)
    splits = tokens.pack(
        documents,
        bpe,
        context_size=config.context_size,
        n_train=config.lm_text_tokens,
        n_held_out=HELD_OUT_TOKENS,
        held_out_fraction=fraction,
        prepend_bos=config.prepend_bos,
    )
    tokens.save(splits, folder / "tokens")
