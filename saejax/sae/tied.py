"""`tied`: a dictionary whose rows, normalised, both encode and decode.

    D = rows of W_dec divided by their norms,  f = ReLU(x Dᵀ + b_enc),  x̂ = f D
    loss = mean over rows and dimensions of (x − x̂)² + λ · mean over rows of Σ_f f + β ‖b_enc‖₂

Source: Cunningham et al. 2023, "Sparse Autoencoders Find Highly Interpretable Features in Language Models", section 2;
exactly sparse_coding's `FunctionalTiedSAE`, with its optional centring x_c = ((x − t) Rᵀ) ⊙ s of the input. The
reconstruction error is a mean over dimensions here, where `relu` has a sum: their λ differ by a factor of about d_in.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from saejax.sae.base import HParams, LossAux, LossContext, Params, SparseAutoencoder, random_unit_rows, summary, unit_rows
from saejax.sae.inference import InferenceSAE


class Centring(NamedTuple):
    """A fixed affine map of the input: x_c = ((x − translation) rotationᵀ) ⊙ scale.

    Attributes:
      translation_D, rotation_DxD (orthogonal), scale_D: float32.
    """

    translation_D: jax.Array
    rotation_DxD: jax.Array
    scale_D: jax.Array


def tied(d_in: int, d_sae: int, *, centring: Centring | None = None) -> SparseAutoencoder:
    """Makes the autoencoder; its hyper-parameters are `l1_coefficient` (λ) and `bias_decay` (β).

    Args:
      d_in: D.
      d_sae: F.
      centring: of the input; None for none.
    """

    def init(key: jax.Array, b_dec_D: jax.Array) -> Params:
        del b_dec_D  # this architecture has no decoder bias
        return {"W_dec": random_unit_rows(key, d_sae, d_in), "b_enc": jnp.zeros(d_sae)}

    def centre(x_BxD: jax.Array) -> jax.Array:
        if centring is None:
            return x_BxD
        return ((x_BxD - centring.translation_D) @ centring.rotation_DxD.T) * centring.scale_D

    def encode(params: Params, hparams: HParams, x_BxD: jax.Array) -> jax.Array:
        return jax.nn.relu(centre(x_BxD) @ unit_rows(params["W_dec"]).T + params["b_enc"])

    def decode(params: Params, f_BxF: jax.Array) -> jax.Array:
        x_hat_BxD = f_BxF @ unit_rows(params["W_dec"])
        if centring is None:
            return x_hat_BxD
        return (x_hat_BxD / centring.scale_D) @ centring.rotation_DxD + centring.translation_D

    def loss(params: Params, hparams: HParams, x_BxD: jax.Array, context: LossContext) -> tuple[jax.Array, LossAux]:
        centred_BxD = centre(x_BxD)
        f_BxF = encode(params, hparams, x_BxD)
        x_hat_BxD = f_BxF @ unit_rows(params["W_dec"])
        l1 = jnp.sum(f_BxF.mean(0))
        l1_loss = hparams["l1_coefficient"] * context.sparsity_scale * l1
        squares = jnp.sum(jnp.square(params["b_enc"]))
        norm = jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1.0)), 0.0)  # finite gradient at 0
        total = jnp.mean(jnp.square(centred_BxD - x_hat_BxD)) + l1_loss + hparams["bias_decay"] * norm
        return total, summary(centred_BxD, x_hat_BxD, f_BxF, l1=l1, l1_loss=l1_loss)

    def export(params: Params, hparams: HParams) -> InferenceSAE:
        W_dec_FxD = unit_rows(params["W_dec"])
        W_enc_DxF, b_enc_F, b_dec_D = W_dec_FxD.T, params["b_enc"], jnp.zeros(d_in)
        if centring is not None:
            W_enc_DxF = centring.rotation_DxD.T @ (centring.scale_D[:, None] * W_enc_DxF)
            b_enc_F = b_enc_F - centring.translation_D @ W_enc_DxF
            W_dec_FxD = (W_dec_FxD / centring.scale_D) @ centring.rotation_DxD
            b_dec_D = centring.translation_D
        return InferenceSAE(W_enc_DxF, b_enc_F, W_dec_FxD, b_dec_D, apply_b_dec_to_input=False)

    def unchanged(params: Params, grads: Params | None = None) -> Params:
        return params if grads is None else grads

    return SparseAutoencoder(init, encode, decode, loss, unchanged, unchanged, export)
