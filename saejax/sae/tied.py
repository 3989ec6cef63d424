"""`tied`: a dictionary whose rows both encode and decode.

    D = rows of W_dec, divided by their norms (`tied_normalise`),  f = ReLU(x Dᵀ + b_enc),  x̂ = f D [+ b_dec]
    loss = mean over rows and dimensions of (x − x̂)² + λ · mean over rows of Σ_f f + β ‖b_enc‖₂

Source: Cunningham et al. 2023, "Sparse Autoencoders Find Highly Interpretable Features in Language Models", section 2; by
default exactly sparse_coding's `FunctionalTiedSAE`, with its optional centring x_c = ((x − t) Rᵀ) ⊙ s of the input. Without
normalisation and with a decoder bias (`tied_decoder_bias`) it is h = ReLU(W x + b), x̂ = Wᵀ h + b_dec. The reconstruction
error is a mean over dimensions here, where `relu` has a sum: their λ differ by a factor of about d_in.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from saejax.sae.base import (
    HParams,
    LossAux,
    LossContext,
    Params,
    SparseAutoencoder,
    directions,
    firings,
    random_unit_rows,
    rectified,
    summary,
    unit_rows,
)
from saejax.sae.frame import Frame
from saejax.sae.inference import InferenceSAE


class Centring(NamedTuple):
    """A fixed affine map of the input: x_c = ((x − translation) rotationᵀ) ⊙ scale.

    Attributes:
      translation_D, rotation_DxD (orthogonal), scale_D: float32.
    """

    translation_D: jax.Array
    rotation_DxD: jax.Array
    scale_D: jax.Array


def bias_norm(b_enc_F: jax.Array) -> jax.Array:
    """‖b_enc‖₂, a scalar, with gradient 0 where it is 0."""
    squares = jnp.sum(jnp.square(b_enc_F))
    return jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1.0)), 0.0)


def tied(
    frame: Frame,
    *,
    tied_normalise: bool = True,
    tied_decoder_bias: bool = False,
    centring: Centring | None = None,
) -> SparseAutoencoder:
    """Makes the autoencoder; its hyper-parameters are `l1_coefficient` (λ) and `bias_decay` (β).

    Args:
      frame: sizes; its input is not centred by b_dec.
      tied_normalise: whether rows are divided by their norms where they are used.
      tied_decoder_bias: whether there is a b_dec.
      centring: of the input; None for none.
    """

    def init(key: jax.Array, b_dec_D: jax.Array) -> Params:
        norm = 1.0 if frame.decoder_init_norm is None else frame.decoder_init_norm
        params = {"W_dec": norm * random_unit_rows(key, frame.d_sae, frame.d_in), "b_enc": jnp.zeros(frame.d_sae)}
        return {**params, "b_dec": b_dec_D} if tied_decoder_bias else params

    def dictionary(params: Params) -> jax.Array:
        return unit_rows(params["W_dec"]) if tied_normalise else params["W_dec"]

    def centre(x_BxD: jax.Array) -> jax.Array:
        if centring is None:
            return x_BxD
        return ((x_BxD - centring.translation_D) @ centring.rotation_DxD.T) * centring.scale_D

    def decode_centred(params: Params, rows_FxD: jax.Array, f_BxF: jax.Array) -> jax.Array:
        return frame.product(f_BxF, rows_FxD) + params.get("b_dec", 0.0)

    def encode(params: Params, hparams: HParams, x_BxD: jax.Array) -> jax.Array:
        return rectified(frame.transposed_product(centre(x_BxD), dictionary(params)) + params["b_enc"])

    def decode(params: Params, f_BxF: jax.Array, x_BxD: jax.Array) -> jax.Array:
        x_hat_BxD = decode_centred(params, dictionary(params), f_BxF)
        if centring is None:
            return x_hat_BxD
        return (x_hat_BxD / centring.scale_D) @ centring.rotation_DxD + centring.translation_D

    def loss(
        params: Params, hparams: HParams, x_BxD: jax.Array, y_BxD: jax.Array, context: LossContext
    ) -> tuple[jax.Array, LossAux]:
        centred_BxD = centre(x_BxD)
        rows_FxD, scale_F = directions(params["W_dec"]) if tied_normalise else (params["W_dec"], jnp.ones(()))
        pre_BxF = frame.transposed_product(centred_BxD, rows_FxD) * scale_F + params["b_enc"]
        scaled_BxF = rectified(pre_BxF * scale_F)  # f, times what its row of W_dec is divided by
        x_hat_BxD = decode_centred(params, rows_FxD, scaled_BxF)
        l1 = jnp.sum(scaled_BxF.mean(0) / scale_F)
        l1_loss = hparams["l1_coefficient"] * l1
        total = jnp.mean(jnp.square(centred_BxD - x_hat_BxD)) + l1_loss + hparams["bias_decay"] * bias_norm(params["b_enc"])
        return total, summary(centred_BxD, x_hat_BxD, firings(scaled_BxF), l1=l1, l1_loss=l1_loss)

    def export(params: Params, hparams: HParams) -> InferenceSAE:
        W_dec_FxD = dictionary(params)
        W_enc_DxF, b_enc_F, b_dec_D = W_dec_FxD.T, params["b_enc"], params.get("b_dec", jnp.zeros(frame.d_in))
        if centring is not None:
            W_enc_DxF = centring.rotation_DxD.T @ (centring.scale_D[:, None] * W_enc_DxF)
            b_enc_F = b_enc_F - centring.translation_D @ W_enc_DxF
            W_dec_FxD = (W_dec_FxD / centring.scale_D) @ centring.rotation_DxD
            b_dec_D = (b_dec_D / centring.scale_D) @ centring.rotation_DxD + centring.translation_D
        return InferenceSAE(W_enc_DxF, b_enc_F, W_dec_FxD, b_dec_D, apply_b_dec_to_input=False)

    return SparseAutoencoder(init, encode, decode, loss, export)
