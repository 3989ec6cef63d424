"""`thresholding`: a tied dictionary whose latents are 0 up to a threshold and rise steeply from it, both learnt.

    D = rows of W_dec divided by their norms,  a = max(scale², 1e-8),  z = (x Dᵀ + b_enc) / a
    f = a · (ReLU6(60 (z − 0.9)) / 6 + ReLU(z − 1)),  x̂ = f D,  loss = mean of (x − x̂)² + λ · mean over rows of Σ_f f

Source: sparse_coding's `FunctionalThresholdingSAE` (its `activation_scale` and `activation_gain` are `scale` and `b_enc`; its
`centering`, which its own `init` never makes, is left out). The reconstruction's mean is over rows and dimensions.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from saejax.sae.base import (
    TINY,
    HParams,
    LossAux,
    LossContext,
    Params,
    SparseAutoencoder,
    firings,
    random_unit_rows,
    summary,
    unit_rows,
)
from saejax.sae.frame import Frame
from saejax.sae.inference import InferenceSAE
from saejax.sae.inference import thresholding as activation


def thresholding(frame: Frame) -> SparseAutoencoder:
    """Makes the autoencoder; its hyper-parameter is `l1_coefficient` (λ).

    Args:
      frame: sizes.
    """

    def init(key: jax.Array, b_dec_D: jax.Array) -> Params:
        rows_FxD = random_unit_rows(key, frame.d_sae, frame.d_in)
        return {"W_dec": rows_FxD, "b_enc": jnp.zeros(frame.d_sae), "scale": jnp.ones(frame.d_sae)}

    def encode(params: Params, hparams: HParams, x_BxD: jax.Array) -> jax.Array:
        squared_F = jnp.square(params["scale"])
        pre_BxF = frame.transposed_product(x_BxD, unit_rows(params["W_dec"])) + params["b_enc"]
        return squared_F * activation(pre_BxF / jnp.maximum(squared_F, TINY))

    def decode(params: Params, f_BxF: jax.Array, x_BxD: jax.Array) -> jax.Array:
        return frame.product(f_BxF, unit_rows(params["W_dec"]))

    def loss(
        params: Params, hparams: HParams, x_BxD: jax.Array, y_BxD: jax.Array, context: LossContext
    ) -> tuple[jax.Array, LossAux]:
        f_BxF = encode(params, hparams, x_BxD)
        x_hat_BxD = decode(params, f_BxF, x_BxD)
        l1 = jnp.sum(f_BxF.mean(0))
        l1_loss = hparams["l1_coefficient"] * l1
        total = jnp.mean(jnp.square(y_BxD - x_hat_BxD)) + l1_loss
        return total, summary(y_BxD, x_hat_BxD, firings(f_BxF), l1=l1, l1_loss=l1_loss)

    def export(params: Params, hparams: HParams) -> InferenceSAE:
        """Latents are exported in units of their thresholds: the rows of W_dec have norm scale²."""
        W_dec_FxD = unit_rows(params["W_dec"])
        squared_F = jnp.square(params["scale"])
        divisor_F = jnp.maximum(squared_F, TINY)
        maps = (W_dec_FxD.T / divisor_F, params["b_enc"] / divisor_F, squared_F[:, None] * W_dec_FxD, jnp.zeros(frame.d_in))
        return InferenceSAE(*maps, activation="thresholding", apply_b_dec_to_input=False)

    return SparseAutoencoder(init, encode, decode, loss, export)
