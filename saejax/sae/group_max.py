"""`group_max`: latents in k runs of equal length, of each row the largest of each run. Source: sparsify's `groupmax`."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from saejax.sae import chosen as ch
from saejax.sae.base import HParams, Params, SparseAutoencoder
from saejax.sae.frame import Frame
from saejax.sae.inference import InferenceSAE
from saejax.sae.selection import keep_group_max


def group_max(frame: Frame, *, group_max_form: str | ch.Form = "sparsify", k_aux: int = 0) -> SparseAutoencoder:
    """Makes the autoencoder; its hyper-parameters are `k`, which divides F, and `auxk_coefficient` (α), both traced.

    Args:
      frame: sizes.
      group_max_form: a name in `chosen.FORMS`, or a Form.
      k_aux: dead latents that AuxK decodes; 0 for half the width that is predicted.
    """
    form = ch.FORMS[group_max_form] if isinstance(group_max_form, str) else group_max_form

    def choose(pre_BxF: jax.Array, hparams: HParams) -> jax.Array:
        return keep_group_max(pre_BxF, hparams["k"])

    def export(params: Params, hparams: HParams) -> InferenceSAE:
        return ch.inference(frame, params, "group_max", k=jnp.asarray(hparams["k"], jnp.int32))

    return ch.chosen(frame, form, choose, export, k_aux=k_aux)
