"""`topk`: the k largest latents of each row, and Multi-TopK.

Source: Gao et al. 2024, "Scaling and evaluating sparse autoencoders", section 2.3. Multi-TopK (section 2.5) adds the loss of
the reconstruction from the 4k largest, weighed by 1/8, so that the autoencoder can be used with other k than it was trained
with.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from saejax.sae import chosen as ch
from saejax.sae.base import HParams, Params, SparseAutoencoder
from saejax.sae.frame import Frame
from saejax.sae.inference import InferenceSAE
from saejax.sae.places import Places
from saejax.sae.selection import keep_top_k
from saejax.sae.sparse import strongest_of_rows

_MULTI, _MULTI_WEIGHT = 4, 1 / 8


def topk(
    frame: Frame, *, topk_form: str | ch.Form = "gao2024", multi_topk: bool = False, k_aux: int = 0, k_max: int = 0
) -> SparseAutoencoder:
    """Makes the autoencoder; its hyper-parameters are `k` and `auxk_coefficient` (α), both traced.

    Args:
      frame: sizes.
      topk_form: a name in `chosen.FORMS`, or a Form.
      multi_topk: whether the loss has the 4k term.
      k_aux: dead latents that AuxK decodes; 0 for half the width that is predicted.
      k_max: the static bound of k, with which products may be sparse; 0 for none.
    """
    form = ch.FORMS[topk_form] if isinstance(topk_form, str) else topk_form

    def choose(pre_BxF: jax.Array, hparams: HParams) -> jax.Array:
        return keep_top_k(pre_BxF, hparams["k"], k_max)

    def strongest(pre_BxF: jax.Array, hparams: HParams) -> tuple[jax.Array, Places]:
        return strongest_of_rows(pre_BxF, hparams["k"], k_max)

    def with_4k(params: Params, hparams: HParams, rows: ch.Rows) -> ch.Losses:
        f_BxF = keep_top_k(rows.pre_BxF, _MULTI * hparams["k"])
        multi = ch.squared_error(form, rows.y_BxE, frame.decode(params, f_BxF, rows.x_BxD))
        own = ch.squared_error(form, rows.y_BxE, rows.y_hat_BxE)
        return ch.Losses(own + _MULTI_WEIGHT * multi, {"multi_topk_loss": multi})

    def export(params: Params, hparams: HParams) -> InferenceSAE:
        return ch.inference(frame, params, "topk", k=jnp.asarray(hparams["k"], jnp.int32))

    if multi_topk:
        return ch.chosen(frame, form, choose, export, reconstruction=with_4k, k_aux=k_aux)
    return ch.chosen(frame, form, choose, export, k_aux=k_aux, strongest=strongest, k_max=k_max)
