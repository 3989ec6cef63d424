"""The architectures by name. Adding one is a file beside this one and a row here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from saejax.sae.base import SparseAutoencoder
from saejax.sae.batch_topk import batch_topk
from saejax.sae.gated import gated
from saejax.sae.group_max import group_max
from saejax.sae.jumprelu import FORMS as JUMPRELU_FORMS
from saejax.sae.jumprelu import jumprelu
from saejax.sae.matching_pursuit import matching_pursuit
from saejax.sae.matryoshka import matryoshka
from saejax.sae.p_anneal import p_anneal
from saejax.sae.relu import relu
from saejax.sae.thresholding import thresholding
from saejax.sae.tied import tied
from saejax.sae.tied_topk import tied_topk
from saejax.sae.topk import topk


class Architecture(NamedTuple):
    """A registry row.

    Attributes:
      make: (frame, **options) -> SparseAutoencoder.
      hparams: the hyper-parameters it takes as traced numbers, with their defaults; the first names a member.
      options: its static options that have flags, with their defaults.
      transcodes: whether it can predict another site than it reads; a tied dictionary cannot.
      bounds_k: whether `make` takes `k_max`, the largest k of the members that are compiled together.
      divides_k: whether k must divide the number of latents.
      unread: options -> the hyper-parameters that its form has no use for, which a sweep must not name.
    """

    make: Callable[..., SparseAutoencoder]
    hparams: Mapping[str, float]
    options: Mapping[str, Any] = {}
    transcodes: bool = True
    bounds_k: bool = False
    divides_k: bool = False
    unread: Callable[[Mapping[str, Any]], frozenset[str]] = lambda options: frozenset()


_LATENT_AXES = {"W_enc": 1, "W_dec": 0, "b_enc": 0, "b_gate": 0, "r_mag": 0, "b_mag": 0, "scale": 0, "threshold": 0}


def latent_axis(name: str, n_dimensions: int) -> int | None:
    """The axis of a parameter that runs over latents; None where there is none, as in b_dec or a threshold common to all.

    Args:
      name: of the parameter, in any architecture.
      n_dimensions: its own, without an ensemble's leading axis.
    """
    axis = _LATENT_AXES.get(name)
    return axis if axis is not None and axis < n_dimensions else None


_CHOSEN = {"k": 32, "auxk_coefficient": 1 / 32}
_AUX, _THRESHOLD = {"k_aux": 0}, {"threshold_rate": 0.01}
_PREFIXES = {"matryoshka_prefixes": (0.0625, 0.125, 0.25, 0.5, 1.0)}

ARCHITECTURES: Mapping[str, Architecture] = {
    "relu": Architecture(
        relu, {"l1_coefficient": 1.0, "bias_decay": 0.0}, {"relu_form": "bricken2023", "ghost_gradients": False}
    ),
    "tied": Architecture(
        tied,
        {"l1_coefficient": 1e-3, "bias_decay": 0.0},
        {"tied_normalise": True, "tied_decoder_bias": False},
        transcodes=False,
    ),
    "tied_topk": Architecture(tied_topk, {"k": 32}, transcodes=False),
    "thresholding": Architecture(thresholding, {"l1_coefficient": 1e-3}, transcodes=False),
    "gated": Architecture(gated, {"l1_coefficient": 1.0}, {"gated_form": "rajamanoharan2024"}),
    "jumprelu": Architecture(
        jumprelu,
        {
            "l0_coefficient": 0.1,
            "bandwidth": 0.05,
            "target_l0": 32.0,
            "tanh_scale": 4.0,
            "pre_act_coefficient": 3e-6,
        },
        {"jumprelu_form": "rajamanoharan2024"},
        unread=lambda options: JUMPRELU_FORMS[options["jumprelu_form"]].unread,
    ),
    "topk": Architecture(topk, _CHOSEN, {"topk_form": "gao2024", "multi_topk": False, **_AUX}, bounds_k=True),
    "batch_topk": Architecture(
        batch_topk, {**_CHOSEN, **_THRESHOLD}, {"batch_topk_form": "dictionary_learning", **_AUX}, bounds_k=True
    ),
    "matryoshka": Architecture(
        matryoshka,
        {**_CHOSEN, **_THRESHOLD},
        {"matryoshka_form": "bussmann2025", "matryoshka_auxk": False, **_PREFIXES, **_AUX},
    ),
    "p_anneal": Architecture(
        p_anneal, {"l1_coefficient": 1.0, "p_start": 1.0, "p_end": 0.2, "anneal_start": 0.25}, {"lp_function": "Lp^p"}
    ),
    "group_max": Architecture(group_max, _CHOSEN, {"group_max_form": "sparsify", **_AUX}, divides_k=True),
    "matching_pursuit": Architecture(matching_pursuit, {"k": 32, "residual_threshold": 0.0}, transcodes=False, bounds_k=True),
}
