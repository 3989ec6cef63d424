"""`relu`: the standard autoencoder, untied: f = ReLU((x − b_dec) W_enc + b_enc), x̂ = f W_dec + b_dec.

Forms of the loss (`FORMS`), with ‖·‖² summed over dimensions and averaged over rows, λ the l1 coefficient:
  bricken2023: ‖x − x̂‖² + λ Σ_f f; decoder rows kept at unit norm, the gradient along them removed. Source: Bricken et al. 2023,
    "Towards Monosemanticity", Autoencoder training. It is dictionary_learning's `StandardTrainer`.
  april2024: ‖x − x̂‖² + λ Σ_f f ‖W_dec[f]‖, norms free. Source: Anthropic, "Circuits Updates – April 2024". It is SAELens's
    `standard`.
  openai: mean_D (x − x̂)² / mean_D x² + λ Σ_f f / ‖x‖₂, by rows; unit rows. Source: OpenAI's code of Gao et al. 2024, `loss.py`.
  sparse_coding: mean over rows and dimensions of (x − x̂)² + λ Σ_f f, the rows of W_dec divided by their norms inside,
    no b_dec. Source: sparse_coding's `FunctionalSAE`.
A decay β ‖b_enc‖₂ and ghost gradients (Jermyn & Templeton 2024) can be added to each.
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
    directions,
    firings,
    rectified,
    sum_of_squares,
    summary,
    unit_rows,
    with_unit_rows,
    without_parallel_part,
)
from saejax.sae.dead_latents import ghost_loss
from saejax.sae.frame import Frame
from saejax.sae.inference import InferenceSAE
from saejax.sae.tied import bias_norm


class Form(NamedTuple):
    """How a loss is written.

    Attributes:
      decoder: rows of W_dec are "unit" (kept so), "free", or "normalised" (divided by their norms where they are used).
      l1_norm_power: the power of ‖W_dec[f]‖ that weighs latent f's L1.
      relative: errors and L1 are divided by each row's mean square and norm.
      mean: errors are averaged over dimensions, not summed.
      b_dec: whether there is a decoder bias.
    """

    decoder: str
    l1_norm_power: int = 0
    relative: bool = False
    mean: bool = False
    b_dec: bool = True


FORMS = {
    "bricken2023": Form("unit"),
    "april2024": Form("free", l1_norm_power=1),
    "openai": Form("unit", relative=True),
    "sparse_coding": Form("normalised", mean=True, b_dec=False),
}


def relu(frame: Frame, *, relu_form: str | Form = "bricken2023", ghost_gradients: bool = False) -> SparseAutoencoder:
    """Makes the autoencoder; its hyper-parameters are `l1_coefficient` (λ) and `bias_decay` (β).

    Args:
      frame: sizes.
      relu_form: a name in `FORMS`, or a Form.
      ghost_gradients: whether dead latents get ghost gradients.
    """
    form = FORMS[relu_form] if isinstance(relu_form, str) else relu_form
    frame = frame if form.b_dec else frame._replace(apply_b_dec_to_input=False)

    def init(key: jax.Array, b_dec_E: jax.Array) -> Params:
        # Half of F random unit rows fire: scaled so, their sum gives the input back on average, not F / 2D times it.
        params = frame.init(key, b_dec_E, gain=min(1.0, 2 * frame.d_in / frame.d_sae))
        return params if form.b_dec else {**params, "b_dec": jnp.zeros_like(b_dec_E)}

    def used(params: Params) -> Params:
        """The parameters as the maps use them."""
        if form.decoder == "normalised":
            params = {**params, "W_dec": unit_rows(params["W_dec"])}
        return params if form.b_dec else {**params, "b_dec": jax.lax.stop_gradient(params["b_dec"])}

    def encode(params: Params, hparams: HParams, x_BxD: jax.Array) -> jax.Array:
        return rectified(frame.pre_activations(params, x_BxD))

    def decode(params: Params, f_BxF: jax.Array, x_BxD: jax.Array) -> jax.Array:
        return frame.decode(used(params), f_BxF, x_BxD)

    def loss(
        params: Params, hparams: HParams, x_BxD: jax.Array, y_BxE: jax.Array, context: LossContext
    ) -> tuple[jax.Array, LossAux]:
        pre_BxF, scale_F = frame.pre_activations(params, x_BxD), jnp.ones(())
        rows = used(params)
        if form.decoder == "normalised":
            rows["W_dec"], scale_F = directions(params["W_dec"])
        f_BxF = rectified(pre_BxF * scale_F)  # times what its row of W_dec is divided by
        y_hat_BxE = frame.decode(rows, f_BxF, x_BxD)
        weight_F = jnp.linalg.norm(params["W_dec"], axis=-1) ** form.l1_norm_power if form.l1_norm_power else 1.0
        if form.relative:
            squares_B = jnp.maximum(jnp.sum(jnp.square(y_BxE), axis=-1), TINY)
            reconstruction = jnp.mean(jnp.sum(jnp.square(y_BxE - y_hat_BxE), axis=-1) / squares_B)
            l1 = jnp.sum(jnp.mean(f_BxF / jnp.sqrt(squares_B)[:, None], axis=0) * weight_F)
        else:
            reconstruction = sum_of_squares(y_BxE - y_hat_BxE) / (frame.width_out if form.mean else 1)
            l1 = jnp.sum(f_BxF.mean(0) / scale_F * weight_F)
        l1_loss = hparams["l1_coefficient"] * l1
        terms = {"l1": l1, "l1_loss": l1_loss}
        total = reconstruction + l1_loss + hparams["bias_decay"] * bias_norm(params["b_enc"])
        if ghost_gradients:
            terms["ghost_loss"] = ghost_loss(frame, used(params), pre_BxF, y_BxE, y_hat_BxE, reconstruction, context)
            total += terms["ghost_loss"]
        return total, summary(y_BxE, y_hat_BxE, firings(f_BxF), **terms)

    def export(params: Params, hparams: HParams) -> InferenceSAE:
        return InferenceSAE(**used(params), apply_b_dec_to_input=frame.centres)

    unit = {"project_gradients": without_parallel_part, "after_update": with_unit_rows} if form.decoder == "unit" else {}
    return SparseAutoencoder(init, encode, decode, loss, export, **unit)
