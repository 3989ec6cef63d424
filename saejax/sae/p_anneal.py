"""`p_anneal`: `relu` with the L1 loss turned, in steps, into an Lp loss with p falling from 1.

    loss = ‖x − x̂‖² + λ_s Σ_f f^p  ("Lp^p"),  or with (Σ_f f^p)^(1/p)  ("Lp")

Source: Karvonen et al. 2024, "Measuring Progress in Dictionary Learning for Language Model Interpretability with Board Game
Models", section 3, as dictionary_learning's `PAnnealTrainer` writes it. p changes at `N_UPDATES` steps spread evenly from
`anneal_start` of the training to its end; at each, λ_s is multiplied by Σ f^p / Σ f^p' of the last `QUEUE` batches, p' being
the p to come, so that the loss goes on at its size. Decoder rows are kept at unit norm.
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
    rectified,
    sum_of_squares,
    summary,
    with_unit_rows,
    without_parallel_part,
)
from saejax.sae.frame import Frame
from saejax.sae.inference import InferenceSAE

FUNCTIONS = ("Lp^p", "Lp")
N_UPDATES = 10
QUEUE = 10


def p_anneal(frame: Frame, *, lp_function: str = "Lp^p") -> SparseAutoencoder:
    """Makes the autoencoder.

    Its hyper-parameters are `l1_coefficient` (λ_s at the start), `p_start`, `p_end` and `anneal_start`, the share of the
    training before p's first change.

    Args:
      frame: sizes.
      lp_function: one of `FUNCTIONS`.
    """

    def init(key: jax.Array, b_dec_E: jax.Array) -> Params:
        params = frame.init(key, b_dec_E, gain=min(1.0, 2 * frame.d_in / frame.d_sae))
        return {**params, "lp_scale": jnp.float32(1.0), "lp_queue": jnp.zeros((QUEUE, 2))}

    def stage(hparams: HParams, context: LossContext, step: jax.Array) -> jax.Array:
        """Changes of p that were made before a step, int32 in [0, N_UPDATES]."""
        start = jnp.floor(hparams["anneal_start"] * context.n_steps + 1e-3).astype(jnp.int32)
        changes = start + (context.n_steps - start) * jnp.arange(N_UPDATES) // (N_UPDATES - 1)
        return jnp.sum(step > changes)

    def p_at(hparams: HParams, n_changes: jax.Array) -> jax.Array:
        """p after so many changes: p_start until the second of them, p_end after the last."""
        share = jnp.clip((n_changes - 1) / (N_UPDATES - 1), 0.0, 1.0)
        return hparams["p_start"] + share * (hparams["p_end"] - hparams["p_start"])

    def lp(f_BxF: jax.Array, p: jax.Array) -> jax.Array:
        powers_BxF = jnp.where(f_BxF > 0, jnp.where(f_BxF > 0, f_BxF, 1.0) ** p, 0.0)  # finite gradient at 0
        sums_B = powers_BxF.sum(-1)
        if lp_function == "Lp^p":
            return sums_B.mean()
        return jnp.mean(jnp.where(sums_B > 0, jnp.where(sums_B > 0, sums_B, 1.0) ** (1.0 / p), 0.0))

    def encode(params: Params, hparams: HParams, x_BxD: jax.Array) -> jax.Array:
        return rectified(frame.pre_activations(params, x_BxD))

    def loss(
        params: Params, hparams: HParams, x_BxD: jax.Array, y_BxE: jax.Array, context: LossContext
    ) -> tuple[jax.Array, LossAux]:
        f_BxF = encode(params, hparams, x_BxD)
        y_hat_BxE = frame.decode(params, f_BxF, x_BxD)
        n_changes = stage(hparams, context, context.step)
        p, next_p = p_at(hparams, n_changes), p_at(hparams, n_changes + 1)
        lp_now = lp(f_BxF, p)
        lp_loss = hparams["l1_coefficient"] * jax.lax.stop_gradient(params["lp_scale"]) * lp_now
        observed = {
            "lp": jnp.stack([lp_now, lp(jax.lax.stop_gradient(f_BxF), next_p)]),
            "n_changes": n_changes,
            "change": stage(hparams, context, context.step + 1) > n_changes,
        }
        total = sum_of_squares(y_BxE - y_hat_BxE) + lp_loss
        return total, summary(y_BxE, y_hat_BxE, firings(f_BxF), observed, lp=lp_now, lp_loss=lp_loss, p=p)

    def after_update(params: Params, before: Params, observed: dict[str, jax.Array], context: LossContext) -> Params:
        queue_Qx2 = jnp.concatenate([before["lp_queue"][1:], observed["lp"][None]])
        n_changes, change = observed["n_changes"], observed["change"]
        now, coming = queue_Qx2.sum(0)
        ratio = jnp.where(change & (n_changes > 0) & (coming > 0), now / jnp.where(coming > 0, coming, 1.0), 1.0)
        # What was queued for another pair of p's is forgotten at a change.
        queue_Qx2 = jnp.where(change, 0.0, queue_Qx2)
        remembered = {"lp_scale": before["lp_scale"] * ratio, "lp_queue": queue_Qx2}
        return with_unit_rows({**params, **remembered}, before, observed, context)

    def export(params: Params, hparams: HParams) -> InferenceSAE:
        maps = {name: value for name, value in params.items() if not name.startswith("lp_")}
        return InferenceSAE(**maps, apply_b_dec_to_input=frame.centres)

    return SparseAutoencoder(
        init,
        encode,
        frame.decode,
        loss,
        export,
        project_gradients=without_parallel_part,
        after_update=after_update,
        remembered=("lp_scale", "lp_queue"),
    )
