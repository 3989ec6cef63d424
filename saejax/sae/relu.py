"""`relu`: the standard autoencoder, untied, with the decoder's bias subtracted from the input.

    f = ReLU((x − b_dec) W_enc + b_enc),  x̂ = f W_dec + b_dec

Forms of the loss, with ‖·‖² summed over dimensions and averaged over rows:
  bricken2023: ‖x − x̂‖² + λ Σ_f f, decoder rows kept at unit norm, the gradient along them removed. Source: Bricken et
    al. 2023, "Towards Monosemanticity", Autoencoder training. It is dictionary_learning's `StandardTrainer`.
  april2024: ‖x − x̂‖² + λ Σ_f f ‖W_dec[f]‖, norms free. Source: Anthropic, "Circuits Updates – April 2024". It is
    SAELens's `standard`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from saejax.sae.base import (
    HParams,
    LossAux,
    LossContext,
    Params,
    SparseAutoencoder,
    random_unit_rows,
    summary,
    unit_rows,
    without_parallel_part,
)
from saejax.sae.inference import InferenceSAE

FORMS = ("bricken2023", "april2024")


def relu(d_in: int, d_sae: int, *, relu_form: str = "bricken2023", apply_b_dec_to_input: bool = True) -> SparseAutoencoder:
    """Makes the autoencoder; its hyper-parameter is `l1_coefficient` (λ).

    Args:
      d_in: D.
      d_sae: F.
      relu_form: one of `FORMS`.
      apply_b_dec_to_input: whether b_dec is subtracted from the input.
    """
    unit_norm = relu_form == "bricken2023"

    def init(key: jax.Array, b_dec_D: jax.Array) -> Params:
        W_dec_FxD = random_unit_rows(key, d_sae, d_in)
        # Half of F random unit rows fire: scaled so, their sum gives the input back on average, not F / 2D times it.
        return {
            "W_enc": min(1.0, 2 * d_in / d_sae) * W_dec_FxD.T,
            "b_enc": jnp.zeros(d_sae),
            "W_dec": W_dec_FxD,
            "b_dec": b_dec_D,
        }

    def export(params: Params, hparams: HParams) -> InferenceSAE:
        return InferenceSAE(**params, k=jnp.int32(0), activation="relu", apply_b_dec_to_input=apply_b_dec_to_input)

    def encode(params: Params, hparams: HParams, x_BxD: jax.Array) -> jax.Array:
        return export(params, hparams).encode(x_BxD)

    def decode(params: Params, f_BxF: jax.Array) -> jax.Array:
        return f_BxF @ params["W_dec"] + params["b_dec"]

    def loss(params: Params, hparams: HParams, x_BxD: jax.Array, context: LossContext) -> tuple[jax.Array, LossAux]:
        f_BxF = encode(params, hparams, x_BxD)
        x_hat_BxD = decode(params, f_BxF)
        weight_F = 1.0 if unit_norm else jnp.linalg.norm(params["W_dec"], axis=-1)
        mse = jnp.sum(jnp.square(x_BxD - x_hat_BxD)) / x_BxD.shape[0]
        l1 = jnp.sum(f_BxF.mean(0) * weight_F)
        l1_loss = hparams["l1_coefficient"] * context.sparsity_scale * l1
        return mse + l1_loss, summary(x_BxD, x_hat_BxD, f_BxF, l1=l1, l1_loss=l1_loss)

    def project_gradients(params: Params, grads: Params) -> Params:
        if not unit_norm:
            return grads
        return {**grads, "W_dec": without_parallel_part(grads["W_dec"], params["W_dec"])}

    def after_update(params: Params) -> Params:
        return {**params, "W_dec": unit_rows(params["W_dec"])} if unit_norm else params

    return SparseAutoencoder(init, encode, decode, loss, project_gradients, after_update, export)
