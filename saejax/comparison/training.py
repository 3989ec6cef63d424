"""The same autoencoders trained by all contenders from the same parameters on the same batches.

A plan, which every contender's process gets: `architecture`, `options`, `frame`, `members`, `schedules`, `optimizer`,
`dead_window_steps`, `compile`, `folder`. The folder has `rows.npz` (x_SxBxD and held_BxD as bfloat16's bits, b_dec_D, scale)
and, once saejax has begun, `params.npz`.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from saejax.comparison import contenders, differences, operations, rounds
from saejax.comparison.contenders import PEERS, SAEJAX, TORCH
from saejax.comparison.worker import Worker
from saejax.training.grid import Group
from saejax.training.step import StepOptions


class Rows(NamedTuple):
    """What is trained on.

    Attributes:
      x_SxBxD: bfloat16, a batch a step.
      held_BxD: bfloat16, whose latents are compared.
      b_dec_D: where decoder biases start, in scaled units.
      scale: the factor on the rows.
    """

    x_SxBxD: np.ndarray
    held_BxD: np.ndarray
    b_dec_D: np.ndarray
    scale: float


def compare(
    group: Group, options: StepOptions, rows: Rows, *, peers: Sequence[str], n_rounds: int, compile: bool
) -> dict[str, Any]:
    """Trains a group in every contender; {`shape`, `operations`, `matrix_products`, `contenders`, `differences`, `peers`}.

    Args:
      group: its members.
      options: of saejax's step.
      rows: batches and what goes with them.
      peers: names in `contenders.PEERS`; those that do not train the architecture are left out.
      n_rounds: turns of each.
      compile: whether the twin uses `torch.compile`.

    Raises:
      InputError: a package that does not load; devices that differ.
    """
    names = [SAEJAX, TORCH, *(peer for peer in peers if group.architecture in PEERS[peer].exact)]
    S, B, _ = rows.x_SxBxD.shape
    frame, M = group.frame, len(group.members)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        plan = plan_of(group, options, folder, compile)
        np.savez(
            Path(folder) / "rows.npz",
            x_SxBxD=rows.x_SxBxD.view(np.uint16),
            held_BxD=rows.held_BxD.view(np.uint16),
            b_dec_D=np.asarray(rows.b_dec_D, np.float32),
            scale=np.float32(rows.scale),
        )
        workers = []
        for name in names:
            workers.append(contenders.start(name, plan))
            stack.callback(workers[-1].close)
        device = contenders.one_device(workers)
        first = {worker.name: worker.call("prepare") for worker in workers}
        methods = {name: ["unit", "product"] if name in (SAEJAX, TORCH) else ["unit"] for name in names}
        found = rounds.measure(workers, n_rounds, methods)
        memory = {worker.name: worker.memory() for worker in workers}
        differing, of_peers = _differences(workers, Path(folder), group)
    product = 2 * M * B * frame.d_in * frame.d_sae
    rates = {name: product / statistics.median(found[name]["product"]) for name in (SAEJAX, TORCH)}
    count = operations.training_step(M, B, frame.d_in, frame.d_sae, group.architecture, group.options)
    seconds = {name: [value / S for value in found[name]["unit"]] for name in names}
    measured = rounds.speeds(seconds, SAEJAX, operations=count, tokens=B, rate=max(rates.values()))
    shape = {"members": M, "batch_size": B, "d_in": frame.d_in, "d_sae": frame.d_sae, "dtype": frame.dtype}
    return {
        "device": device,
        "shape": {**shape, "members_k": [m.hparams["k"] for m in group.members if "k" in m.hparams]},
        "options": dict(group.options),
        "steps": S,
        "dense_equivalent_operations": count,
        "matrix_products": {"operations_per_second": max(rates.values()), **rates},
        "contenders": {name: {**measured[name], "first_seconds": first[name], "memory_bytes": memory[name]} for name in names},
        "differences": {"largest": differences.largest(differing), "members": differing},
        "losses_of_peers": of_peers,
    }


def plan_of(group: Group, options: StepOptions, folder: str, compile: bool) -> dict[str, Any]:
    """What every contender's process gets."""
    return {
        "architecture": group.architecture,
        "options": dict(group.options),
        "frame": group.frame._asdict(),
        "members": [member._asdict() for member in group.members],
        "schedules": options.schedules._asdict(),
        "optimizer": options.optimizer._asdict(),
        "dead_window_steps": options.dead_window_steps,
        "compile": compile,
        "folder": folder,
    }


def _differences(workers: Sequence[Worker], folder: Path, group: Group) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of the twin, value by value; of peers' losses, where they are written as saejax's are."""
    outcomes = {}
    for worker in workers[:2]:
        worker.call("outcome")
        with np.load(folder / f"{'saejax' if worker.name == SAEJAX else 'torch'}.npz", allow_pickle=False) as outcome:
            outcomes[worker.name] = {name: outcome[name] for name in outcome.files}
    of_peers: dict[str, Any] = {}
    for worker in workers[2:]:
        form = PEERS[worker.name].exact[group.architecture]
        if form is not None and group.options[form[0]] != form[1]:
            of_peers[worker.name] = None  # another loss: it is timed only
        else:
            of_peers[worker.name] = differences.of_losses(outcomes[SAEJAX]["losses_SxM"], np.asarray(worker.call("losses")))
    names = [member.name for member in group.members]
    return differences.of_training(outcomes[SAEJAX], outcomes[TORCH], names), of_peers
