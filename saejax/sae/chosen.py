"""What `topk`, `batch_topk`, `matryoshka` and `group_max` share: latents are chosen, not punished.

    pre = (x − b_dec) W_enc + b_enc,  f = ReLU of the chosen of pre,  x̂ = f W_dec + b_dec,  loss = reconstruction + α · AuxK

They differ in the choice and in the reconstruction loss. The peers write the loss in forms that differ, named in `FORMS`;
`gao2024` is the paper's own code (Gao et al. 2024, "Scaling and evaluating sparse autoencoders", sections 2.3 and A.2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from saejax.sae import sparse
from saejax.sae.base import (
    HParams,
    LossAux,
    LossContext,
    Params,
    SparseAutoencoder,
    firings,
    sum_of_squares,
    summary,
    total_variance,
    with_unit_rows,
    without_parallel_part,
)
from saejax.sae.dead_latents import AuxK, auxk_loss
from saejax.sae.frame import Frame
from saejax.sae.inference import InferenceSAE
from saejax.sae.places import Places


class Form(NamedTuple):
    """How a peer writes the loss.

    Attributes:
      normalise: Σ(y − ŷ)² is divided by the batch's total variance (the FVU), else by its rows.
      norm_in_latents: latents are scaled by ‖W_dec[f]‖ before the choice, and norms are free; else decoder rows are kept at
        unit norm, as in Bricken et al. 2023.
      auxk: of AuxK.
    """

    normalise: bool
    norm_in_latents: bool
    auxk: AuxK


FORMS = {
    "gao2024": Form(True, False, AuxK(relu=True, over="residual", scaled=False, trains_b_dec=True)),
    "saelens": Form(False, True, AuxK(relu=False, over="rows", scaled=True, trains_b_dec=False)),
    "sparsify": Form(True, False, AuxK(relu=True, over="target", scaled=True, trains_b_dec=False)),
    "dictionary_learning": Form(False, False, AuxK(relu=True, over="residual", scaled=False, trains_b_dec=False)),
}

Strongest = Callable[[jax.Array, HParams], tuple[jax.Array, Places]]
Choose = Callable[[jax.Array, HParams], jax.Array]


class Rows(NamedTuple):
    """What a reconstruction loss is made of: input, target, pre-activations, latents and prediction.

    Latents are [B, F], or, where the loss uses sparse products, those that are kept; there pre-activations have no gradient.
    """

    x_BxD: jax.Array
    y_BxE: jax.Array
    pre_BxF: jax.Array
    latents: jax.Array
    y_hat_BxE: jax.Array


class Losses(NamedTuple):
    """An architecture's reconstruction loss.

    Attributes:
      total: a scalar.
      terms: its parts, to be logged.
      auxk: (params in the units of the choice, dead_F) -> AuxK, where it is not that of the whole dictionary.
    """

    total: jax.Array
    terms: dict[str, jax.Array]
    auxk: Callable[[Params, jax.Array], jax.Array] | None = None


def squared_error(form: Form, y_BxE: jax.Array, y_hat_BxE: jax.Array) -> jax.Array:
    """The reconstruction loss as the form writes it, a scalar."""
    if form.normalise:
        return jnp.sum(jnp.square(y_BxE - y_hat_BxE)) / total_variance(y_BxE)
    return sum_of_squares(y_BxE - y_hat_BxE)


def in_latents(form: Form, params: Params) -> Params:
    """The parameters in the units in which latents are chosen: norms of W_dec moved to the encoder, or as they are."""
    if not form.norm_in_latents:
        return params
    norm_F = jnp.linalg.norm(params["W_dec"], axis=-1)
    moved = {"W_enc": params["W_enc"] * norm_F, "b_enc": params["b_enc"] * norm_F, "W_dec": params["W_dec"] / norm_F[:, None]}
    return {**params, **moved}


def chosen(
    frame: Frame,
    form: Form,
    choose: Choose,
    export: Callable[[Params, HParams], InferenceSAE],
    *,
    reconstruction: Callable[[Params, HParams, Rows], Losses] | None = None,
    observe: Callable[[jax.Array, HParams], dict[str, jax.Array]] = lambda latents, hparams: {},
    k_aux: int = 0,
    strongest: Strongest | None = None,
    k_max: int = 0,
) -> SparseAutoencoder:
    """Makes an autoencoder whose latents are chosen; `auxk_coefficient` (α) is among its hyper-parameters.

    Args:
      frame: sizes.
      form: of the loss.
      choose: (pre_BxF, hparams) -> the latents: the positive entries that are chosen, 0 elsewhere, as `selection` gives them.
      export: (params in the units of the choice, hparams) -> InferenceSAE.
      reconstruction: (params in those units, hparams, rows) -> Losses; None for the form's squared error.
      observe: (latents, hparams) -> what `after_update` needs of them.
      k_aux: dead latents that AuxK decodes; 0 for half the width that is predicted.
      strongest: (pre_BxF, hparams) -> (values without gradient, places) of what `choose` keeps. Given with `k_max`, a static
        bound of latents a row, and no `reconstruction`, the loss uses sparse products where they are faster.
      k_max: that bound; 0 for dense products.
    """
    k_aux = k_aux or max(1, frame.width_out // 2)
    is_sparse = strongest and k_max and sparse.worthwhile(min(frame.d_in, frame.width_out), frame.d_sae, k_max)

    def plain(params: Params, hparams: HParams, rows: Rows) -> Losses:
        return Losses(squared_error(form, rows.y_BxE, rows.y_hat_BxE), {})

    def encode(params: Params, hparams: HParams, x_BxD: jax.Array) -> jax.Array:
        pre_BxF = frame.pre_activations(in_latents(form, params), x_BxD)
        return choose(pre_BxF, hparams)

    def decode(params: Params, f_BxF: jax.Array, x_BxD: jax.Array) -> jax.Array:
        return frame.decode(in_latents(form, params), f_BxF, x_BxD)

    def of_all(params: Params, hparams: HParams, x_BxD: jax.Array, y_BxE: jax.Array) -> tuple[Rows, jax.Array]:
        pre_BxF = frame.pre_activations(params, x_BxD)
        f_BxF = choose(pre_BxF, hparams)
        return Rows(x_BxD, y_BxE, pre_BxF, f_BxF, frame.decode(params, f_BxF, x_BxD)), firings(f_BxF)

    def of_places(params: Params, hparams: HParams, x_BxD: jax.Array, y_BxE: jax.Array) -> tuple[Rows, jax.Array]:
        pre_BxF = jax.lax.stop_gradient(frame.pre_activations(params, x_BxD))
        values, places = strongest(pre_BxF, hparams)
        values = frame.encoded(params, x_BxD, values, places)
        count_F = sparse.by_latent((values > 0).astype(jnp.float32), places, frame.d_sae)
        return Rows(x_BxD, y_BxE, pre_BxF, values, frame.decode_sparse(params, values, places, x_BxD)), count_F

    def loss(
        params: Params, hparams: HParams, x_BxD: jax.Array, y_BxE: jax.Array, context: LossContext
    ) -> tuple[jax.Array, LossAux]:
        params = in_latents(form, params)
        rows, count_F = (of_places if is_sparse else of_all)(params, hparams, x_BxD, y_BxE)
        losses = (reconstruction or plain)(params, hparams, rows)
        error_BxE = jax.lax.stop_gradient(y_BxE - rows.y_hat_BxE)

        def whole(params: Params, dead_F: jax.Array) -> jax.Array:
            pre_BxF = frame.recalled(params, x_BxD, rows.pre_BxF) if is_sparse else rows.pre_BxF
            return auxk_loss(form.auxk, frame, params, pre_BxF, y_BxE, error_BxE, dead_F, k_aux)

        aux = jax.lax.cond(
            context.any_dead,
            lambda: (losses.auxk or whole)(params, context.dead_F),
            lambda: jnp.zeros_like(losses.total),
        )
        total = losses.total + hparams["auxk_coefficient"] * aux
        observed = observe(rows.latents, hparams)
        return total, summary(y_BxE, rows.y_hat_BxE, count_F, observed, auxk_loss=aux, **losses.terms)

    def export_in_latents(params: Params, hparams: HParams) -> InferenceSAE:
        return export(in_latents(form, params), hparams)

    unit = {} if form.norm_in_latents else {"project_gradients": without_parallel_part, "after_update": with_unit_rows}
    return SparseAutoencoder(frame.init, encode, decode, loss, export_in_latents, **unit)


def inference(frame: Frame, params: Params, activation: str, **fields) -> InferenceSAE:
    """What the chosen architectures export: their maps, with an activation and its fields."""
    maps = {name: params[name] for name in ("W_enc", "b_enc", "W_dec", "b_dec", "W_skip") if name in params}
    return InferenceSAE(**maps, activation=activation, apply_b_dec_to_input=frame.centres, **fields)
