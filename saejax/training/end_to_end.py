"""Fine-tuning for what the language model makes of the reconstruction: an autoencoder with another loss.

    loss = (1 − w) · own + w · damage · (own / damage, held constant)

`damage` is the cross-entropy or KL of the model that goes on from the reconstruction; it is given `own`'s size, so that w is
its share of the gradient whatever the units. Sources: Braun et al. 2024, "Identifying Functionally Important Features with
End-to-End Sparse Dictionary Learning"; the balance is Karvonen 2025's, "Revisiting End-To-End Sparse Autoencoder Training: A
Short Finetune Is All You Need", where w = 1/2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from saejax.sae.base import TINY, HParams, LossAux, LossContext, Params, SparseAutoencoder

_LONG = 10**6


class Text(Protocol):
    """Where rows come from; what else it holds is `damage`'s business.

    Attributes:
      y_NxE: what the rows are to be turned into, scaled as in training.
    """

    y_NxE: jax.Array


def end_to_end(sae: SparseAutoencoder, damage: Callable[[jax.Array, Any], jax.Array], weight: float) -> SparseAutoencoder:
    """The autoencoder with the end-to-end loss, whose target is a `Text`.

    Args:
      sae: with its own loss.
      damage: (predicted rows [N, E] scaled as in training, Text) -> a scalar that is not negative.
      weight: w in [0, 1].
    """

    def loss(params: Params, hparams: HParams, x_NxD: jax.Array, text: Text, context: LossContext) -> tuple[jax.Array, LossAux]:
        own, aux = sae.loss(params, hparams, x_NxD, text.y_NxE, _ended(context))
        y_hat_NxE = sae.decode(params, sae.encode(params, hparams, x_NxD), x_NxD)
        harm = damage(y_hat_NxE, text)
        balance = jax.lax.stop_gradient(own / jnp.maximum(harm, TINY))
        metrics = {**aux.metrics, "own_loss": own, "damage": harm}
        return (1.0 - weight) * own + weight * balance * harm, aux._replace(metrics=jax.lax.stop_gradient(metrics))

    return sae._replace(loss=loss)


def _ended(context: LossContext) -> LossContext:
    """The context in which an architecture's own schedules have run: p has been annealed, and changes no more."""
    return context._replace(step=jnp.int32(_LONG - 1), n_steps=_LONG)
