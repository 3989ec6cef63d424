"""`batch_topk`: the k·B largest latents of a batch, with a threshold learnt for inference, where rows come alone.

Source: Bussmann, Leask & Nanda 2024, "BatchTopK sparse autoencoders". The threshold is an exponential average of each batch's
smallest kept latent; it is exported as a JumpReLU's. Forms as in `chosen.FORMS`: the paper's is `dictionary_learning`'s.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from saejax.sae import chosen as ch
from saejax.sae.base import HParams, LossContext, Params, SparseAutoencoder
from saejax.sae.frame import Frame
from saejax.sae.inference import InferenceSAE
from saejax.sae.places import Places
from saejax.sae.platform import platform
from saejax.sae.selection import keep_top_of_all
from saejax.sae.sparse import strongest_of_all

UNSET = -1.0  # the threshold before the first batch, which sets it


def batch_topk(
    frame: Frame,
    *,
    batch_topk_form: str | ch.Form = "dictionary_learning",
    k_aux: int = 0,
    k_max: int = 0,
    reconstruction=None,
) -> SparseAutoencoder:
    """Makes the autoencoder; its hyper-parameters are `k`, `auxk_coefficient` (α) and `threshold_rate`, all traced.

    `threshold_rate` is the weight of a batch in the threshold's average (sae-lens 0.01, dictionary_learning 0.001).

    Args:
      frame: sizes.
      batch_topk_form: a name in `chosen.FORMS`, or a Form.
      k_aux: dead latents that AuxK decodes; 0 for half the width that is predicted.
      k_max: the static bound of k, with which products may be sparse; 0 for none.
      reconstruction: as `chosen.chosen` takes it, for an architecture that chooses so and reconstructs otherwise.
    """
    form = ch.FORMS[batch_topk_form] if isinstance(batch_topk_form, str) else batch_topk_form

    def n_kept(pre_BxF: jax.Array, hparams: HParams) -> jax.Array:
        return jnp.floor(hparams["k"] * jnp.float32(pre_BxF.shape[0])).astype(jnp.int32)

    def choose(pre_BxF: jax.Array, hparams: HParams) -> jax.Array:
        return keep_top_of_all(pre_BxF, n_kept(pre_BxF, hparams))

    def strongest(pre_BxF: jax.Array, hparams: HParams) -> tuple[jax.Array, Places]:
        return strongest_of_all(pre_BxF, n_kept(pre_BxF, hparams), k_max * pre_BxF.shape[0])

    def smallest_kept(latents: jax.Array, hparams: HParams) -> dict[str, jax.Array]:
        return {"smallest_kept": jnp.min(jnp.where(latents > 0, latents, jnp.inf)), "rate": hparams["threshold_rate"]}

    def export(params: Params, hparams: HParams) -> InferenceSAE:
        threshold_F = jnp.full(frame.d_sae, jnp.maximum(params["threshold"], 0.0))
        return ch.inference(frame, params, "jumprelu", threshold=threshold_F)

    is_flat = platform().takes_flat_places and reconstruction is None
    sae = ch.chosen(
        frame,
        form,
        choose,
        export,
        reconstruction=reconstruction,
        observe=smallest_kept,
        k_aux=k_aux,
        strongest=strongest if is_flat else None,
        k_max=k_max,
    )

    def init(key: jax.Array, b_dec_E: jax.Array) -> Params:
        return {**sae.init(key, b_dec_E), "threshold": jnp.float32(UNSET)}

    def after_update(params: Params, before: Params, observed: dict[str, jax.Array], context: LossContext) -> Params:
        old, new, rate = before["threshold"], observed["smallest_kept"], observed["rate"]
        averaged = jnp.where(old < 0, new, (1.0 - rate) * old + rate * new)
        params = sae.after_update(params, before, observed, context)
        return {**params, "threshold": jnp.where(jnp.isfinite(new), averaged, old)}

    return sae._replace(init=init, after_update=after_update, remembered=("threshold",))
