"""`tied_topk`: the k rows of a dictionary with the largest products with the input, no biases.

    D = rows of W_dec divided by their norms,  f = ReLU of the k largest of x Dᵀ,  x̂ = f D,  loss = mean of (x − x̂)²

Source: sparse_coding's `TopKEncoder`. The mean is over rows and dimensions.
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
    firings,
    random_unit_rows,
    summary,
    unit_rows,
)
from saejax.sae.frame import Frame
from saejax.sae.inference import InferenceSAE
from saejax.sae.selection import keep_top_k


def tied_topk(frame: Frame) -> SparseAutoencoder:
    """Makes the autoencoder; its hyper-parameter is `k`, traced.

    Args:
      frame: sizes.
    """

    def init(key: jax.Array, b_dec_D: jax.Array) -> Params:
        return {"W_dec": random_unit_rows(key, frame.d_sae, frame.d_in)}

    def encode(params: Params, hparams: HParams, x_BxD: jax.Array) -> jax.Array:
        pre_BxF = frame.transposed_product(x_BxD, unit_rows(params["W_dec"]))
        return keep_top_k(pre_BxF, hparams["k"])

    def decode(params: Params, f_BxF: jax.Array, x_BxD: jax.Array) -> jax.Array:
        return frame.product(f_BxF, unit_rows(params["W_dec"]))

    def loss(
        params: Params, hparams: HParams, x_BxD: jax.Array, y_BxD: jax.Array, context: LossContext
    ) -> tuple[jax.Array, LossAux]:
        f_BxF = encode(params, hparams, x_BxD)
        x_hat_BxD = decode(params, f_BxF, x_BxD)
        return jnp.mean(jnp.square(y_BxD - x_hat_BxD)), summary(y_BxD, x_hat_BxD, firings(f_BxF))

    def export(params: Params, hparams: HParams) -> InferenceSAE:
        W_dec_FxD = unit_rows(params["W_dec"])
        maps = (W_dec_FxD.T, jnp.zeros(frame.d_sae), W_dec_FxD, jnp.zeros(frame.d_in))
        k = jnp.asarray(hparams["k"], jnp.int32)
        return InferenceSAE(*maps, k=k, activation="topk", apply_b_dec_to_input=False)

    return SparseAutoencoder(init, encode, decode, loss, export)
