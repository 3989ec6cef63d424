"""`matching_pursuit`: a tied dictionary of unit rows, whose latents are chosen one after the other (`sae/pursuit.py`).

    f = pursuit(x − b_dec),  x̂ = f W_dec + b_dec,  loss = ‖x − x̂‖²

Source: Costa et al. 2025, "From flat to hierarchical: extracting sparse representations with matching pursuit"; SAELens's
`matching_pursuit`, which keeps unit norms at the start only: here they are kept throughout, as the pursuit supposes them.
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
    sum_of_squares,
    summary,
    with_unit_rows,
    without_parallel_part,
)
from saejax.sae.frame import Frame
from saejax.sae.inference import InferenceSAE
from saejax.sae.pursuit import matching_pursuit as pursue


def matching_pursuit(frame: Frame, *, k_max: int) -> SparseAutoencoder:
    """Makes the autoencoder; its hyper-parameters are `k` (most latents of a row) and `residual_threshold`, both traced.

    Args:
      frame: sizes.
      k_max: the static bound of k.
    """

    def init(key: jax.Array, b_dec_D: jax.Array) -> Params:
        return {"W_dec": random_unit_rows(key, frame.d_sae, frame.d_in), "b_dec": b_dec_D}

    def centre(params: Params, x_BxD: jax.Array) -> jax.Array:
        return x_BxD - params["b_dec"] if frame.centres else x_BxD

    def encode(params: Params, hparams: HParams, x_BxD: jax.Array) -> jax.Array:
        stop = {"k": hparams["k"], "residual_threshold": hparams["residual_threshold"], "k_max": k_max}
        return pursue(centre(params, x_BxD), params["W_dec"], **stop, product=frame.product)

    def decode(params: Params, f_BxF: jax.Array, x_BxD: jax.Array) -> jax.Array:
        return frame.product(f_BxF, params["W_dec"]) + params["b_dec"]

    def loss(
        params: Params, hparams: HParams, x_BxD: jax.Array, y_BxD: jax.Array, context: LossContext
    ) -> tuple[jax.Array, LossAux]:
        f_BxF = encode(params, hparams, x_BxD)
        x_hat_BxD = decode(params, f_BxF, x_BxD)
        return sum_of_squares(y_BxD - x_hat_BxD), summary(y_BxD, x_hat_BxD, firings(f_BxF))

    def export(params: Params, hparams: HParams) -> InferenceSAE:
        maps = (params["W_dec"].T, jnp.zeros(frame.d_sae), params["W_dec"], params["b_dec"])
        stop = {"k": jnp.asarray(hparams["k"], jnp.int32), "residual_threshold": jnp.asarray(hparams["residual_threshold"])}
        return InferenceSAE(*maps, **stop, activation="matching_pursuit", apply_b_dec_to_input=frame.centres, k_max=k_max)

    return SparseAutoencoder(
        init, encode, decode, loss, export, project_gradients=without_parallel_part, after_update=with_unit_rows
    )
