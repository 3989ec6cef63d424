"""Turning latents down and up: each of a few latents of an autoencoder gets f' = keep · f + add · unit in place of its f.

(f' − f) W_dec[latent] is added to the written site at every position that the autoencoder is for; what the autoencoder does not
explain stays as it is. Where rows are scaled one by one, the part is in the row's own units.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from saejax.sae.scaling import normalize

N_EDITS = 8  # at once, at most: programs are compiled for so many
# kind → (keep, add) at strength s
KINDS = {
    "ablate": lambda s: (0.0, 0.0),
    "scale": lambda s: (s, 0.0),
    "add": lambda s: (1.0, s),
    "set": lambda s: (0.0, s),
}


class Edit(NamedTuple):
    """One latent's.

    Attributes:
      latent: its number.
      kind: of `KINDS`: ablate it, scale its activation by the strength, add strength units, or set it to them.
      strength: without a unit for "scale", in units of the latent's largest activation for "add" and "set".
    """

    latent: int
    kind: str
    strength: float


class Edits(NamedTuple):
    """`N_EDITS` of them, those that are not asked for changing nothing.

    Attributes:
      latents_E: int32.
      keep_E, add_E: float32.
      recorded_E: float32, each latent's largest activation in the records; 0 where there are none.
    """

    latents_E: np.ndarray
    keep_E: np.ndarray
    add_E: np.ndarray
    recorded_E: np.ndarray


def pack(edits: Sequence[Edit], recorded_F: np.ndarray | None) -> Edits:
    """Edits of one autoencoder as arrays.

    Args:
      edits: at most `N_EDITS`, of different latents.
      recorded_F: float32, largest activations, or None where no features were collected.
    """
    latents_E = np.zeros(N_EDITS, np.int32)
    keep_E, add_E = np.ones(N_EDITS, np.float32), np.zeros(N_EDITS, np.float32)
    for e, edit in enumerate(edits):
        latents_E[e] = edit.latent
        keep_E[e], add_E[e] = KINDS[edit.kind](edit.strength)
    recorded_E = np.zeros(N_EDITS, np.float32) if recorded_F is None else recorded_F[latents_E].astype(np.float32)
    return Edits(latents_E, keep_E, add_E, recorded_E)


def units(edits: Edits, f_LxF: jax.Array) -> jax.Array:
    """What strengths are multiples of, float32 [E]: the recorded largest activation, or, where there is none, the text's own.

    Args:
      edits: packed.
      f_LxF: activations along the text; 0 at positions that are not of it.
    """
    return jnp.where(edits.recorded_E > 0, edits.recorded_E, f_LxF[:, edits.latents_E].max(axis=0))


def part(sae, x_BxLxD: jax.Array, f_BxLxF: jax.Array, mask_BxL: jax.Array, edits: Edits, unit_E: jax.Array) -> jax.Array:
    """What is added to the written site, in raw units, float32 [B, L, width].

    Args:
      sae: an `InferenceSAE`.
      x_BxLxD: the read site's activations; heads may be apart.
      f_BxLxF: latents there.
      mask_BxL: positions that are edited.
      edits: packed.
      unit_E: of `units`.
    """
    f_BxLxE = f_BxLxF[..., edits.latents_E]
    change_BxLxE = jnp.where(mask_BxL[..., None], (edits.keep_E - 1.0) * f_BxLxE + edits.add_E * unit_E, 0.0)
    added_BxLxD = change_BxLxE @ sae.W_dec[edits.latents_E]
    _, undoing = normalize(x_BxLxD.reshape(mask_BxL.size, -1).astype(jnp.float32), sae.normalize_activations)
    return added_BxLxD if undoing is None else added_BxLxD * undoing[1].reshape(*mask_BxL.shape, 1)
