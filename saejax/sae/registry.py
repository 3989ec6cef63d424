"""The architectures by name. Adding one is a file beside this one and a row here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from saejax.sae.base import SparseAutoencoder
from saejax.sae.relu import relu
from saejax.sae.tied import tied
from saejax.sae.topk import topk


class Architecture(NamedTuple):
    """A registry row.

    Attributes:
      make: (d_in, d_sae, **options) -> SparseAutoencoder.
      hparams: the hyper-parameters it takes as traced numbers, with their defaults; the first names a member.
      options: its static options that have flags, with their defaults.
      latent_axes: for each parameter, the axis that runs over latents, or None.
    """

    make: Callable[..., SparseAutoencoder]
    hparams: Mapping[str, float]
    options: Mapping[str, Any]
    latent_axes: Mapping[str, int | None]


_UNTIED = {"W_enc": 1, "b_enc": 0, "W_dec": 0, "b_dec": None}

ARCHITECTURES: Mapping[str, Architecture] = {
    "relu": Architecture(relu, {"l1_coefficient": 1.0}, {"relu_form": "bricken2023"}, _UNTIED),
    "tied": Architecture(tied, {"l1_coefficient": 1e-3, "bias_decay": 0.0}, {}, {"W_dec": 0, "b_enc": 0}),
    "topk": Architecture(topk, {"k": 32, "auxk_coefficient": 1 / 32}, {"topk_form": "gao2024"}, _UNTIED),
}
