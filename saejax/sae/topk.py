"""`topk`: k latents a row, chosen not punished, with AuxK against dead latents.

    pre = (x − b_dec) W_enc + b_enc,  f = ReLU of the k largest of pre,  x̂ = f W_dec + b_dec
    loss = reconstruction + α · AuxK

AuxK lets the dead latents reconstruct the error e = x − x̂ (held constant): of them, the k_aux largest are decoded.
Source: Gao et al. 2024, "Scaling and evaluating sparse autoencoders", sections 2.3 and A.2. The peers compute it in forms
that differ, named in `FORMS`; `gao2024` is the paper's own code.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from saejax.sae.base import (
    TINY,
    HParams,
    LossAux,
    LossContext,
    Params,
    SparseAutoencoder,
    random_unit_rows,
    summary,
    total_variance,
    unit_rows,
    without_parallel_part,
)
from saejax.sae.inference import InferenceSAE
from saejax.sae.selection import top_k_mask


class Form(NamedTuple):
    """How a peer writes the loss.

    Attributes:
      normalise_reconstruction: Σ(x − x̂)² over the batch's total variance (the FVU), else its mean over rows.
      decoder_norm_in_latents: latents are scaled by ‖W_dec[f]‖ before the choice, and norms are free; else decoder rows are
        kept at unit norm, as in Bricken et al. 2023.
      aux_relu: ReLU on the dead latents' values.
      aux_over: AuxK is Σ(aux − e)² over the total variance of "residual" or "input", or its mean over "rows".
      aux_scaled: multiplied by min(n_dead / k_aux, 1).
      aux_trains_b_dec: b_dec stands, live, on the auxiliary reconstruction's side and, held, on the error's.
    """

    normalise_reconstruction: bool
    decoder_norm_in_latents: bool
    aux_relu: bool
    aux_over: str
    aux_scaled: bool
    aux_trains_b_dec: bool


FORMS = {
    "gao2024": Form(True, False, True, "residual", False, True),
    "saelens": Form(False, True, False, "rows", True, False),
    "sparsify": Form(True, False, True, "input", True, False),
    "dictionary_learning": Form(False, False, True, "residual", False, False),
}


def topk(d_in: int, d_sae: int, *, topk_form: str | Form = "gao2024", k_aux: int | None = None) -> SparseAutoencoder:
    """Makes the autoencoder; its hyper-parameters are `k` and `auxk_coefficient` (α), both traced.

    Args:
      d_in: D.
      d_sae: F.
      topk_form: a name in `FORMS`, or a Form.
      k_aux: dead latents that AuxK decodes; None for d_in // 2.
    """
    form = FORMS[topk_form] if isinstance(topk_form, str) else topk_form
    k_aux = k_aux or max(1, d_in // 2)
    free_norms = form.decoder_norm_in_latents

    def init(key: jax.Array, b_dec_D: jax.Array) -> Params:
        W_dec_FxD = random_unit_rows(key, d_sae, d_in)
        return {"W_enc": W_dec_FxD.T, "b_enc": jnp.zeros(d_sae), "W_dec": W_dec_FxD, "b_dec": b_dec_D}

    def weights(params: Params) -> tuple[jax.Array, jax.Array, jax.Array]:
        """(W_enc, b_enc, W_dec) of the latents that are chosen among."""
        W_enc_DxF, b_enc_F, W_dec_FxD = params["W_enc"], params["b_enc"], params["W_dec"]
        if not free_norms:
            return W_enc_DxF, b_enc_F, W_dec_FxD
        norm_F = jnp.linalg.norm(W_dec_FxD, axis=-1)
        return W_enc_DxF * norm_F, b_enc_F * norm_F, W_dec_FxD / norm_F[:, None]

    def pre_activations(params: Params, x_BxD: jax.Array) -> jax.Array:
        W_enc_DxF, b_enc_F, _ = weights(params)
        return (x_BxD - params["b_dec"]) @ W_enc_DxF + b_enc_F

    def keep(pre_BxF: jax.Array, k: jax.Array) -> jax.Array:
        return jnp.where(top_k_mask(pre_BxF, k), pre_BxF, 0.0)

    def encode(params: Params, hparams: HParams, x_BxD: jax.Array) -> jax.Array:
        return keep(pre_activations(params, x_BxD), hparams["k"])

    def decode(params: Params, f_BxF: jax.Array) -> jax.Array:
        return f_BxF @ weights(params)[2] + params["b_dec"]

    def auxk(params: Params, pre_BxF: jax.Array, x_BxD: jax.Array, error_BxD: jax.Array, dead_F: jax.Array) -> jax.Array:
        n_dead = dead_F.sum()
        k_dead = jnp.minimum(k_aux, n_dead)
        if form.aux_relu:
            aux_BxF = keep(jnp.where(dead_F, pre_BxF, 0.0), k_dead)
        else:  # the largest may be negative: choose on values shifted to be positive, the order kept
            lowest_Bx1 = jax.lax.stop_gradient(pre_BxF.min(-1, keepdims=True))
            shifted_BxF = jnp.where(dead_F, jax.lax.stop_gradient(pre_BxF) - lowest_Bx1 + 1.0, 0.0)
            aux_BxF = jnp.where(top_k_mask(shifted_BxF, k_dead), pre_BxF, 0.0)
        difference_BxD = aux_BxF @ weights(params)[2] - error_BxD
        if form.aux_trains_b_dec:
            difference_BxD += params["b_dec"] - jax.lax.stop_gradient(params["b_dec"])
        over = {
            "rows": lambda: x_BxD.shape[0],
            "input": lambda: jnp.maximum(total_variance(x_BxD), TINY),
            "residual": lambda: jnp.maximum(total_variance(error_BxD), TINY),
        }[form.aux_over]()
        scale = jnp.minimum(n_dead / k_aux, 1.0) if form.aux_scaled else (n_dead > 0).astype(x_BxD.dtype)
        return scale * jnp.sum(jnp.square(difference_BxD)) / over

    def loss(params: Params, hparams: HParams, x_BxD: jax.Array, context: LossContext) -> tuple[jax.Array, LossAux]:
        pre_BxF = pre_activations(params, x_BxD)
        f_BxF = keep(pre_BxF, hparams["k"])
        x_hat_BxD = decode(params, f_BxF)
        squares = jnp.sum(jnp.square(x_BxD - x_hat_BxD))
        reconstruction = squares / (total_variance(x_BxD) if form.normalise_reconstruction else x_BxD.shape[0])
        error_BxD = jax.lax.stop_gradient(x_BxD - x_hat_BxD)
        auxk_loss = jax.lax.cond(
            context.any_dead,
            lambda: auxk(params, pre_BxF, x_BxD, error_BxD, context.dead_F),
            lambda: jnp.zeros_like(reconstruction),
        )
        return reconstruction + hparams["auxk_coefficient"] * auxk_loss, summary(x_BxD, x_hat_BxD, f_BxF, auxk_loss=auxk_loss)

    def project_gradients(params: Params, grads: Params) -> Params:
        return grads if free_norms else {**grads, "W_dec": without_parallel_part(grads["W_dec"], params["W_dec"])}

    def after_update(params: Params) -> Params:
        return params if free_norms else {**params, "W_dec": unit_rows(params["W_dec"])}

    def export(params: Params, hparams: HParams) -> InferenceSAE:
        W_enc_DxF, b_enc_F, W_dec_FxD = weights(params)
        k = jnp.asarray(hparams["k"], jnp.int32)
        return InferenceSAE(W_enc_DxF, b_enc_F, W_dec_FxD, params["b_dec"], k=k, activation="topk")

    return SparseAutoencoder(init, encode, decode, loss, project_gradients, after_update, export)
