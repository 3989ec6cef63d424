"""`--tasks=extract`: text and GPT-2 → `activations/<hook_name>/`."""

from __future__ import annotations

import time

import jax.numpy as jnp
import numpy as np

from saejax import console, files
from saejax.activations.harvest import harvest
from saejax.activations.store import StoreWriter, rows_per_chunk
from saejax.config import Config
from saejax.lm import sites, tokenizer, weights
from saejax.tasks import inputs
from saejax.workdir import Workdir


def do(config: Config, workdir: Workdir) -> dict:
    """Writes every site's rows, going on where an interrupted run was; returns fingerprints and rate."""
    splits = inputs.windows(config, workdir)
    train = splits["train"]
    directory = inputs.model_directory(config, workdir)
    lm, params = weights.load(directory)
    end_of_text = tokenizer.load(directory).token_to_id(weights.END_OF_TEXT)
    keep_NxL = inputs.kept_positions(config, train, end_of_text)
    addresses = np.flatnonzero(keep_NxL)
    hooks = inputs.hooks(config)
    widths = {hook: sites.site_width(hook, n_embd=lm.n_embd, n_inner=lm.inner) for hook in hooks}
    chunk = rows_per_chunk(max(widths.values()))
    writers = {
        hook: StoreWriter(inputs.activations_directory(workdir, hook), addresses, width, chunk)
        for hook, width in widths.items()
    }
    batch_windows = max(1, config.extract_batch_size // config.context_size)
    rows_before_batch = np.concatenate([[0], np.cumsum(keep_NxL.sum(1))])[::batch_windows]
    n_done = min(writer.n_done for writer in writers.values())
    first_batch = int(np.searchsorted(rows_before_batch, n_done, side="right")) - 1
    batches = harvest(
        params,
        train.tokens_NxL,
        config=lm,
        sites=hooks,
        dtype=jnp.dtype(config.dtype),
        batch_windows=batch_windows,
        first_batch=first_batch,
    )
    start = time.monotonic()
    with console.progress("extract", len(addresses), "rows", n_done) as advance:
        for i, rows in enumerate(batches, start=first_batch):
            kept = keep_NxL[i * batch_windows : (i + 1) * batch_windows]
            for hook, writer in writers.items():
                already = max(0, writer.n_done_at_open - int(rows_before_batch[i]))
                writer.append(rows[hook][kept][already:])
            advance(int(kept.sum()))
    for writer in writers.values():
        writer.close()
    seconds = time.monotonic() - start
    return {
        "text": {name: {"fingerprint": s.fingerprint, "tokens": s.tokens_NxL.size} for name, s in splits.items()},
        "rows": len(addresses),
        "rows_per_second": round((len(addresses) - n_done) / max(seconds, 1e-9)),
    }


def missing(config: Config, workdir: Workdir) -> list[str]:
    """What a complete task has left, and that is not there."""
    stores = [inputs.activations_directory(workdir, hook) / "progress.json" for hook in inputs.hooks(config)]
    return files.absent([workdir.path / "tokens", *stores])
