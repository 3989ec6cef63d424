"""The same activations extracted by all contenders from the same tokens.

A plan, which every contender's process gets: `model` (a HuggingFace directory), `sites`, `dtype`, `product` (the sizes of the
matrix whose product is timed), `folder`, which has `tokens.npy`.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from saejax.comparison import contenders, differences, operations, rounds
from saejax.comparison.contenders import PEERS, SAEJAX, TORCH
from saejax.lm.gpt2 import GPT2Config


def compare(
    lm: GPT2Config,
    model: Path | None,
    sites: Sequence[str],
    *,
    windows: int,
    length: int,
    dtype: str,
    seed: int,
    peers: Sequence[str],
    n_rounds: int,
) -> dict[str, Any]:
    """Extracts in every contender; {`shape`, `operations`, `matrix_products`, `contenders`, `differences`}.

    Args:
      lm: sizes of the GPT-2.
      model: its directory; None for random weights.
      sites: hook names.
      windows, length: tokens of a pass; they are drawn at random.
      dtype: of the model.
      seed: of tokens and random weights.
      peers: names in `contenders.PEERS`; those that only train are left out.
      n_rounds: turns of each.
    """
    names = [SAEJAX, TORCH, *(peer for peer in peers if PEERS[peer].extracts)]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        tokens_BxL = np.random.default_rng((seed, 8)).integers(lm.vocab_size, size=(windows, length), dtype=np.int32)
        np.save(Path(folder) / "tokens.npy", tokens_BxL)
        directory = str(model or Path(folder) / "model")
        product = (lm.n_embd, lm.inner)
        plan = {"model": directory, "sites": list(sites), "dtype": dtype, "product": product, "folder": folder}
        workers = []
        for name in names:
            workers.append(contenders.start(name, plan))
            stack.callback(workers[-1].close)
        device = contenders.one_device(workers)
        if model is None:
            sizes = {name: getattr(lm, name) for name in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head")}
            workers[0].call("write_random", sizes, seed)
        first = {worker.name: worker.call("prepare") for worker in workers}
        methods = {name: ["unit", "product"] if name in (SAEJAX, TORCH) else ["unit"] for name in names}
        found = rounds.measure(workers, n_rounds, methods)
        memory = {worker.name: worker.memory() for worker in workers}
        outcomes = {}
        for worker in workers:
            worker.call("outcome")
            file = {SAEJAX: "saejax", TORCH: "torch"}.get(worker.name, worker.name)
            with np.load(Path(folder) / f"{file}.npz", allow_pickle=False) as outcome:
                outcomes[worker.name] = {site: outcome[site] for site in sites}
    count = operations.extraction(windows, length, lm.n_embd, lm.inner, sites)
    rates = {
        name: 2 * windows * length * product[0] * product[1] / statistics.median(found[name]["product"])
        for name in (SAEJAX, TORCH)
    }
    seconds = {name: found[name]["unit"] for name in names}
    measured = rounds.speeds(seconds, SAEJAX, operations=count, tokens=windows * length, rate=max(rates.values()))
    return {
        "device": device,
        "shape": {"windows": windows, "length": length, "n_embd": lm.n_embd, "n_head": lm.n_head, "dtype": dtype},
        "sites": list(sites),
        "dense_equivalent_operations": count,
        "matrix_products": {"operations_per_second": max(rates.values()), **rates},
        "contenders": {name: {**measured[name], "first_seconds": first[name], "memory_bytes": memory[name]} for name in names},
        "differences": {
            name: {site: differences.apart(outcomes[SAEJAX][site], outcomes[name][site]) for site in sites}
            for name in names[1:]
        },
    }
