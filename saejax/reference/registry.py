"""The twin's autoencoders by saejax's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from saejax.errors import InputError
from saejax.reference.base import Sae
from saejax.reference.chosen import BatchTopK, TopK
from saejax.reference.gated import Gated
from saejax.reference.jumprelu import JumpRelu
from saejax.reference.relu import Relu, Tied

# The forms that are written here; other options must have these values.
FORMS = {
    "relu": ("relu_form", ("bricken2023", "april2024", "openai", "sparse_coding")),
    "tied": (None, ()),
    "gated": ("gated_form", ("rajamanoharan2024", "saelens")),
    "jumprelu": ("jumprelu_form", ("rajamanoharan2024", "saelens")),
    "topk": ("topk_form", ("gao2024", "saelens", "sparsify", "dictionary_learning")),
    "batch_topk": ("batch_topk_form", ("gao2024", "saelens", "sparsify", "dictionary_learning")),
}


def check(architecture: str, options: Mapping[str, Any]) -> None:
    """Raises InputError for what has no twin."""
    if architecture not in FORMS:
        raise InputError(f"--architecture={architecture}: has no PyTorch twin to compare with; choose among {', '.join(FORMS)}")
    flag, allowed = FORMS[architecture]
    if flag and options[flag] not in allowed:
        raise InputError(f"--{flag}={options[flag]}: has no PyTorch twin to compare with; choose among {', '.join(allowed)}")
    if options.get("ghost_gradients"):
        raise InputError("--ghost_gradients: has no PyTorch twin to compare with; leave it out")


def make(architecture: str, options: Mapping[str, Any], params: Mapping[str, np.ndarray], k_max: int = 0) -> Sae:
    """The twin of one member.

    Args:
      architecture: a key of `FORMS`.
      options: its static options, by saejax's flags.
      params: float32 arrays by saejax's names.
      k_max: the largest k of the members, where latents are chosen.
    """
    check(architecture, options)
    flag = FORMS[architecture][0]
    if architecture == "relu":
        return Relu(params, form=options[flag])
    if architecture == "tied":
        return Tied(params, normalise=options["tied_normalise"])
    if architecture == "gated":
        return Gated(params, form=options[flag])
    if architecture == "jumprelu":
        return JumpRelu(params, form=options[flag])
    shared = {"form": options[flag], "k_max": k_max, "k_aux": options["k_aux"]}
    return (
        BatchTopK(params, **shared)
        if architecture == "batch_topk"
        else TopK(params, **shared, multi_topk=options["multi_topk"])
    )
