"""`--plan` of `extract`: the text's first documents and a few forward passes of GPT-2."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from saejax.config import Config
from saejax.lm import corpus, gpt2, sites, tokenizer, tokens, weights
from saejax.planning import counts, forecast, harvesting, measure, text
from saejax.planning.forecast import Forecast
from saejax.tasks import inputs, sweep
from saejax.workdir import Workdir

TEXT_SECONDS, FORWARD_SECONDS = 3.0, 2.0
SAMPLE_TOKENS = 2**18


class Extract(NamedTuple):
    """What was measured, and what follows for the other tasks.

    Attributes:
      lm, params, tokenizer: the model; random parameters where `pretrain` is still to make it.
      text: of the first documents; its windows are what everything is timed on.
      keep_NxL: the positions of those windows that count.
      widths: {site: its width}.
      n_train, n_held_out: tokens of each split.
      n_rows: that will be stored.
      with_writing, without: of the forward passes.
      store: of rows on disk.
      load_seconds: of the model.
      tokenised: whether the work directory has the tokens.
      held_bytes, peak_bytes: of the process's memory before the forward passes, and at most.
      operations_per_second: of the model's matrix products.
    """

    lm: gpt2.GPT2Config
    params: gpt2.Params
    tokenizer: Any
    text: text.Text
    keep_NxL: np.ndarray
    widths: dict[str, int]
    n_train: int
    n_held_out: int
    n_rows: int
    with_writing: harvesting.Harvesting
    without: harvesting.Harvesting
    store: harvesting.Store
    load_seconds: float
    tokenised: bool
    held_bytes: int
    peak_bytes: int
    operations_per_second: float


def rehearse(config: Config, workdir: Workdir, folder: Path) -> Extract:
    """Measures."""
    start = time.monotonic()
    lm, params, bpe = model(config, workdir)
    load_seconds = time.monotonic() - start
    tokenised = (workdir.path / "tokens").exists()
    sample, n_train, n_held_out = _text(config, workdir, bpe, tokenised)
    windows = sample.windows
    keep_NxL = inputs.kept_positions(config, windows, bpe.token_to_id(weights.END_OF_TEXT))
    hooks = inputs.hooks(config)
    widths = {hook: sites.site_width(hook, n_embd=lm.n_embd, n_inner=lm.inner) for hook in hooks}
    rate = measure.operations_per_second(config.context_size * 8, lm.n_embd, lm.inner, jnp.dtype(config.dtype))
    a_window = config.context_size * counts.lm_operations(lm, config.context_size, blocks=blocks(hooks, lm))
    wanted = max(1, config.extract_batch_size // config.context_size)
    batch_windows = max(1, min(wanted, int(FORWARD_SECONDS / 2 * rate / max(a_window, 1))))
    common = dict(config=lm, widths=widths, dtype=jnp.dtype(config.dtype), batch_windows=batch_windows)

    def passes(where: Path | None) -> harvesting.Harvesting:
        return harvesting.harvesting(
            params, windows.tokens_NxL, keep_NxL, folder=where, budget_seconds=FORWARD_SECONDS, **common
        )

    done = measure.once(lambda: passes(folder / "rows"))
    return Extract(
        lm=lm,
        params=params,
        tokenizer=bpe,
        text=sample,
        keep_NxL=keep_NxL,
        widths=widths,
        n_train=n_train,
        n_held_out=n_held_out,
        n_rows=round(n_train * keep_NxL.mean()),
        with_writing=done.result,
        without=passes(None),
        store=harvesting.store(folder / "store", max(widths.values()), config.batch_size),
        load_seconds=load_seconds,
        tokenised=tokenised,
        held_bytes=done.held_bytes,
        peak_bytes=done.held_bytes + done.rise_bytes * wanted // batch_windows,
        operations_per_second=rate,
    )


def model(config: Config, workdir: Workdir) -> tuple[gpt2.GPT2Config, gpt2.Params, Any]:
    """`--model`; where `pretrain` is still to make it, one of its sizes with random parameters and the tiny one's tokenizer."""
    directory = inputs.model_directory(config, workdir)
    if config.model == "lm" and not directory.is_dir():
        bpe = tokenizer.load(weights.find("tiny"))
        lm = inputs.lm_from_flags(config, max(config.lm_vocab_size, bpe.get_vocab_size()))
        return lm, gpt2.init(lm, jax.random.key(0)), bpe
    return *weights.load(directory), tokenizer.load(directory)


def blocks(hooks: tuple[str, ...], lm: gpt2.GPT2Config) -> int:
    """Blocks of a forward pass that ends at the deepest of some sites."""
    return max(counts.blocks_run(hook, lm.n_layer) for hook in hooks)


def measure_text(config: Config, bpe: Any) -> text.Text:
    """Reads and tokenises for some seconds."""
    documents = corpus.documents(config.dataset, split=config.dataset_split, text_column=config.text_column)
    return text.measure(
        documents,
        bpe,
        dataset=config.dataset,
        context_size=config.context_size,
        prepend_bos=config.prepend_bos,
        budget_seconds=TEXT_SECONDS,
    )


def _text(config: Config, workdir: Workdir, bpe: Any, tokenised: bool) -> tuple[text.Text, int, int]:
    """(the text, tokens of the training split, of the held-out split)."""
    if tokenised:
        splits = tokens.load(workdir.path / "tokens")
        found = text.Text(_first(splits["train"]), 0.0, 0.0, 0.0, None)
        return found, splits["train"].tokens_NxL.size, splits["held_out"].tokens_NxL.size
    found, L = measure_text(config, bpe), config.context_size
    n_train, n_held_out = (-(-n // L) * L for n in (config.store_tokens, config.eval_tokens))
    if found.most_tokens is not None:
        n_train = min(n_train, round((1 - config.held_out_fraction) * found.most_tokens))
        n_held_out = min(n_held_out, max(L, round(config.held_out_fraction * found.most_tokens)))
    return found, n_train, n_held_out


def _first(windows: tokens.TokenWindows) -> tokens.TokenWindows:
    """The first windows, as many as a plan needs."""
    tokens_NxL = windows.tokens_NxL[: -(-SAMPLE_TOKENS // windows.context_size)]
    n_documents = int(np.searchsorted(windows.starts, tokens_NxL.size))
    return dataclasses.replace(
        windows, tokens_NxL=tokens_NxL, starts=windows.starts[:n_documents], sources=windows.sources[:n_documents]
    )


def forecast_of(config: Config, e: Extract) -> Forecast:
    """What `extract` takes."""
    seconds = {
        "text": 0.0 if e.tokenised else e.text.seconds(e.n_train, e.n_held_out, config.held_out_fraction),
        "model and compilation": e.load_seconds + e.with_writing.first_seconds,
        "forward passes and writing": e.n_train * e.with_writing.token_seconds,
    }
    disk = counts.store_bytes(e.n_rows, list(e.widths.values())) + counts.tokens_bytes(e.n_train + e.n_held_out)
    n_windows = e.n_train // config.context_size
    # Besides: the tokens (twice while they are packed), and addresses and which positions are kept.
    peak = e.peak_bytes + 2 * counts.tokens_bytes(e.n_train) + (8 + 2) * n_windows * config.context_size
    operations = e.n_train * counts.lm_operations(e.lm, config.context_size, blocks=blocks(tuple(e.widths), e.lm))
    return Forecast("extract", seconds, disk, peak, operations)


def verdict(config: Config, e: Extract) -> str:
    """Whether to keep activations on disk or to recompute them in every pass."""
    row_bytes = counts.store_bytes(e.n_rows, list(e.widths.values()))
    return forecast.keep_or_recompute(
        n_passes=sweep.n_steps(config) * config.batch_size / max(1, e.n_rows),
        bytes_kept=row_bytes,
        forward_seconds=e.without.first_seconds + e.n_train * e.without.token_seconds,
        write_seconds=row_bytes * e.store.write_seconds,
        read_seconds=row_bytes * e.store.read_seconds,
    )
