"""Who is measured beside saejax: its PyTorch twin always, the peers of `--compare_with` where they have the like."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from saejax.comparison.worker import Worker
from saejax.errors import InputError

SAEJAX, TORCH = "saejax", "PyTorch twin"


class Peer(NamedTuple):
    """Another project.

    Attributes:
      module: of `saejax.comparison.peers`.
      package: what is imported.
      install: how it is had.
      exact: {architecture it trains: (the option, its value) where the loss is saejax's, or None for always}.
      extracts: whether it gives activations instead.
    """

    module: str
    package: str
    install: str
    exact: Mapping[str, tuple[str, str] | None] = {}
    extracts: bool = False


PEERS = {
    "saelens": Peer(
        "saelens",
        "sae_lens",
        "pip install sae-lens",
        {
            "relu": ("relu_form", "april2024"),
            "gated": ("gated_form", "saelens"),
            "jumprelu": ("jumprelu_form", "saelens"),
            "topk": ("topk_form", "saelens"),
            "batch_topk": ("batch_topk_form", "saelens"),
        },
    ),
    "sparsify": Peer("sparsify", "sparsify", "pip install eai-sparsify", {"topk": ("topk_form", "sparsify")}),
    "dictionary_learning": Peer(
        "dictionary_learning",
        "dictionary_learning",
        "pip install dictionary-learning",
        {
            "relu": ("relu_form", "bricken2023"),
            "gated": ("gated_form", "rajamanoharan2024"),
            "jumprelu": ("jumprelu_form", "dictionary_learning"),
            "topk": ("topk_form", "dictionary_learning"),
            "batch_topk": ("batch_topk_form", "dictionary_learning"),
        },
    ),
    "sparse_coding": Peer(
        "sparse_coding",
        "autoencoders",
        "put a checkout of github.com/HoagyC/sparse_coding on PYTHONPATH and pip install torchopt torchtyping",
        {"relu": ("relu_form", "sparse_coding"), "tied": None},
    ),
    "transformer_lens": Peer("transformer_lens", "transformer_lens", "pip install transformer-lens", extracts=True),
}


def check(names: Sequence[str], architectures: Sequence[str], kinds: Sequence[str]) -> None:
    """Raises InputError for a peer that is not installed, or that none of the comparisons can use.

    Args:
      names: of `--compare_with`.
      architectures: of the sweep.
      kinds: of `--compare`.
    """
    for package in ("torch", "transformers"):
        if {"train", "extract"} & set(kinds) and importlib.util.find_spec(package) is None:
            raise InputError(f"--tasks=compare: {package} is not installed; pip install 'saejax[torch]'")
    for name in names:
        peer = PEERS[name]
        if importlib.util.find_spec(peer.package) is None:
            raise InputError(f"--compare_with={name}: {peer.package} is not installed; {peer.install}, or leave it out")
        if peer.extracts and "extract" not in kinds:
            raise InputError(f"--compare_with={name}: only extracts activations; add extract to --compare, or leave it out")
        if not peer.extracts and "train" not in kinds:
            raise InputError(f"--compare_with={name}: only trains; add train to --compare, or leave it out")
        if not peer.extracts and not set(architectures) & set(peer.exact):
            raise InputError(
                f"--compare_with={name}: trains {', '.join(peer.exact)}, not --architecture={','.join(architectures)}; "
                "leave it out"
            )


def start(contender: str, plan: dict) -> Worker:
    """A contender's process: saejax's, the twin's or a peer's; `plan["sites"]` tells an extraction from a training."""
    kind = "Extraction" if "sites" in plan else "Training"
    if contender in (SAEJAX, TORCH):
        module = f"saejax.comparison.{'saejax' if contender == SAEJAX else 'torch'}_{kind.lower()}"
        return Worker(contender, f"{module}:{kind}", plan, absent="--tasks=compare: pip install 'saejax[torch]'")
    peer = PEERS[contender]
    absent = f"--compare_with={contender}: {peer.package} does not load; {peer.install}, or leave it out"
    return Worker(contender, f"saejax.comparison.peers.{peer.module}:{kind}", plan, absent=absent, foreign=True)


def one_device(workers: Sequence[Worker]) -> str:
    """The kind of device that all are on.

    Raises:
      InputError: they are on different kinds.
    """
    kinds = {worker.name: worker.call("device") for worker in workers}
    if len(set(kinds.values())) > 1:
        found = ", ".join(f"{name} on {kind}" for name, kind in kinds.items())
        raise InputError(f"--tasks=compare: {found}; install builds of JAX and PyTorch for the same device")
    return next(iter(kinds.values()))
