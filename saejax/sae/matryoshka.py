"""`matryoshka`: nested dictionaries: every prefix of the latents reconstructs as well; chosen as in `batch_topk`.

Source: Bussmann, Nabeshima, Karvonen & Nanda 2025, "Learning multi-level features with matryoshka sparse autoencoders". The
paper and SAELens sum the prefixes' losses; dictionary_learning averages them, each weighed (by 1/n unless told otherwise).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from saejax.sae import chosen as ch
from saejax.sae.base import HParams, Params, SparseAutoencoder
from saejax.sae.batch_topk import batch_topk
from saejax.sae.dead_latents import auxk_loss
from saejax.sae.frame import Frame


class Form(NamedTuple):
    """How the levels' losses are joined.

    Attributes:
      chosen: how each is written.
      average: the mean of the weighed losses, else their sum.
    """

    chosen: ch.Form
    average: bool


FORMS = {
    "bussmann2025": Form(ch.FORMS["dictionary_learning"], False),
    "saelens": Form(ch.FORMS["saelens"], False),
    "dictionary_learning": Form(ch.FORMS["dictionary_learning"], True),
}


def widths(prefixes: Sequence[float], d_sae: int) -> tuple[int, ...]:
    """The levels' numbers of latents, the last being all.

    Args:
      prefixes: rising shares of the latents, in (0, 1]; the whole is added where it is missing.
      d_sae: F.

    Raises:
      ValueError: shares that do not rise, or do not give whole latents.
    """
    shares = [*prefixes, 1.0] if not prefixes or prefixes[-1] != 1.0 else list(prefixes)
    counts = [share * d_sae for share in shares]
    if any(abs(count - round(count)) > 1e-6 * d_sae or round(count) < 1 for count in counts):
        raise ValueError(f"shares {', '.join(f'{s:g}' for s in shares)} do not cut {d_sae} latents into whole numbers")
    if any(a >= b for a, b in zip(shares, shares[1:])) or shares[-1] > 1.0:
        raise ValueError(f"shares {', '.join(f'{s:g}' for s in shares)} must rise, to at most 1")
    return tuple(round(count) for count in counts)


def matryoshka(
    frame: Frame,
    *,
    matryoshka_form: str | Form = "bussmann2025",
    matryoshka_prefixes: Sequence[float] = (0.0625, 0.125, 0.25, 0.5, 1.0),
    matryoshka_auxk: bool = False,
    weights: Sequence[float] | None = None,
    k_aux: int = 0,
    **options,
) -> SparseAutoencoder:
    """Makes the autoencoder; its hyper-parameters are those of `batch_topk`.

    Args:
      frame: sizes.
      matryoshka_form: a name in `FORMS`, or a Form.
      matryoshka_prefixes: shares of the latents (`widths`).
      matryoshka_auxk: one AuxK a level, of its own dead latents on its own error (an option of SAELens), not one in all.
      weights: of the levels; None for 1, or 1/n in an averaging form.
      k_aux: dead latents that AuxK decodes; 0 for half the width that is predicted.
      options: of `batch_topk`.

    Raises:
      ValueError: prefixes that do not rise or do not divide F.
    """
    form = FORMS[matryoshka_form] if isinstance(matryoshka_form, str) else matryoshka_form
    ends = widths(matryoshka_prefixes, frame.d_sae)
    edges = list(zip((0, *ends[:-1]), ends))
    weights = weights or [1 / len(ends) if form.average else 1.0] * len(ends)
    most_aux = k_aux or max(1, frame.width_out // 2)

    def levels(params: Params, hparams: HParams, rows: ch.Rows) -> ch.Losses:
        y_hat_BxE, losses, errors = frame.offset(params, rows.x_BxD), [], []
        for start, end in edges:
            y_hat_BxE = y_hat_BxE + frame.product(rows.latents[:, start:end], params["W_dec"][start:end])
            losses.append(ch.squared_error(form.chosen, rows.y_BxE, y_hat_BxE))
            errors.append(jax.lax.stop_gradient(rows.y_BxE - y_hat_BxE))
        total = sum(weight * loss for weight, loss in zip(weights, losses)) / (len(ends) if form.average else 1)
        terms = {f"mse_{end}": loss for end, loss in zip(ends[:-1], losses)}

        def auxk_by_level(params: Params, dead_F: jax.Array) -> jax.Array:
            latent_F = jnp.arange(frame.d_sae)
            own = [dead_F & (latent_F >= start) & (latent_F < end) for start, end in edges]
            pre_BxF, y_BxE, aux = rows.pre_BxF, rows.y_BxE, form.chosen.auxk
            return sum(auxk_loss(aux, frame, params, pre_BxF, y_BxE, e, dead, most_aux) for e, dead in zip(errors, own))

        return ch.Losses(total, terms, auxk_by_level if matryoshka_auxk else None)

    return batch_topk(frame, batch_topk_form=form.chosen, k_aux=k_aux, reconstruction=levels, **options)
