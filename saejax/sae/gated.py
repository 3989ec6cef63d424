"""`gated`: which latents are active, and how much, from two biases and scales of one encoder.

    c = x − b_dec,  gate = c W_enc + b_gate,  magnitude = (c W_enc) ⊙ exp(r_mag) + b_mag
    f = [gate > 0] ReLU(magnitude),  x̂ = f W_dec + b_dec
    loss = ‖x − x̂‖² + λ Σ_f ReLU(gate) + ‖x − (ReLU(gate) W_dec + b_dec)‖²

with ‖·‖² summed over dimensions and averaged over rows. Source: Rajamanoharan et al. 2024a, "Improving Dictionary Learning with
Gated Sparse Autoencoders". Forms: `rajamanoharan2024` holds W_dec and b_dec constant in the last term, and the rows of W_dec
at unit norm; it is dictionary_learning's. `saelens` does neither, and weighs the L1 by the rows' norms.
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
    sum_of_squares,
    summary,
    with_unit_rows,
    without_parallel_part,
)
from saejax.sae.frame import Frame
from saejax.sae.inference import InferenceSAE

FORMS = ("rajamanoharan2024", "saelens")


def gated(frame: Frame, *, gated_form: str = "rajamanoharan2024") -> SparseAutoencoder:
    """Makes the autoencoder; its hyper-parameter is `l1_coefficient` (λ).

    Args:
      frame: sizes.
      gated_form: one of `FORMS`.
    """
    paper = gated_form == "rajamanoharan2024"

    def init(key: jax.Array, b_dec_E: jax.Array) -> Params:
        params = frame.init(key, b_dec_E, gain=min(1.0, 2 * frame.d_in / frame.d_sae))
        del params["b_enc"]
        return {**params, **{name: jnp.zeros(frame.d_sae) for name in ("b_gate", "r_mag", "b_mag")}}

    def both(params: Params, x_BxD: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(gate, latents)."""
        projected_BxF = frame.project(params, x_BxD)
        gate_BxF = projected_BxF + params["b_gate"]
        magnitude_BxF = projected_BxF * jnp.exp(params["r_mag"]) + params["b_mag"]
        return gate_BxF, jnp.where(gate_BxF > 0, jax.nn.relu(magnitude_BxF), 0.0)

    def encode(params: Params, hparams: HParams, x_BxD: jax.Array) -> jax.Array:
        return both(params, x_BxD)[1]

    def loss(
        params: Params, hparams: HParams, x_BxD: jax.Array, y_BxE: jax.Array, context: LossContext
    ) -> tuple[jax.Array, LossAux]:
        gate_BxF, f_BxF = both(params, x_BxD)
        y_hat_BxE = frame.decode(params, f_BxF, x_BxD)
        open_BxF = jax.nn.relu(gate_BxF)
        constant = jax.lax.stop_gradient(params) if paper else params
        aux_loss = sum_of_squares(y_BxE - frame.decode(constant, open_BxF, x_BxD))
        weight_F = 1.0 if paper else jnp.linalg.norm(params["W_dec"], axis=-1)
        l1 = jnp.sum(open_BxF.mean(0) * weight_F)
        l1_loss = hparams["l1_coefficient"] * l1
        total = sum_of_squares(y_BxE - y_hat_BxE) + l1_loss + aux_loss
        return total, summary(y_BxE, y_hat_BxE, firings(f_BxF), l1=l1, l1_loss=l1_loss, aux_loss=aux_loss)

    def export(params: Params, hparams: HParams) -> InferenceSAE:
        maps = {name: value for name, value in params.items() if name != "b_gate"}
        return InferenceSAE(b_enc=params["b_gate"], **maps, activation="gated", apply_b_dec_to_input=frame.centres)

    unit = {"project_gradients": without_parallel_part, "after_update": with_unit_rows} if paper else {}
    return SparseAutoencoder(init, encode, frame.decode, loss, export, **unit)
