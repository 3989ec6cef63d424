"""Gradients of a batch in parts, so that a step's memory is that of a part: the only arrays of F numbers a row are a part's.

The loss is then the mean of the parts' losses. For a mean over rows that is the same number; what an architecture takes of
the whole batch (the variance that an FVU is divided by, batch-top-k's choice) it takes of a part, as with sparsify's
`micro_acc_steps`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from saejax.sae.base import LossAux, Params

Loss = Callable[[Params, jax.Array, jax.Array], tuple[jax.Array, LossAux]]


def value_and_gradients(
    loss: Loss, params: Params, x_BxD: jax.Array, y_BxE: Any, microbatch_size: int
) -> tuple[tuple[jax.Array, LossAux], Params]:
    """`jax.value_and_grad(loss, has_aux=True)`, in parts.

    Args:
      loss: (params, x, y) -> (loss, LossAux).
      params: what it is differentiated for.
      x_BxD, y_BxE: the batch.
      microbatch_size: rows of a part, which must divide B; 0 for the whole batch at once, whose y may be any tree.

    Returns:
      ((loss, aux), gradients): means over the parts; a latent has fired if it has in any part; what is observed and is not a
      float is the last part's.
    """
    differentiate = jax.value_and_grad(loss, has_aux=True)
    if microbatch_size in (0, len(x_BxD)):
        return differentiate(params, x_BxD, y_BxE)
    parts = [a.reshape(-1, microbatch_size, a.shape[-1]) for a in (x_BxD, y_BxE)]
    share = microbatch_size / len(x_BxD)

    def add(total: Any, part: Any) -> Any:
        return jax.tree.map(lambda a, b: a + share * b if jnp.issubdtype(b.dtype, jnp.floating) else b, total, part)

    def one(state: Any, rows: tuple[jax.Array, jax.Array]) -> tuple[Any, None]:
        (total, fired_F), ((value, aux), grads) = state, differentiate(params, *rows)
        return (add(total, (value, aux.metrics, aux.observed, grads)), fired_F | aux.fired_F), None

    def start() -> Any:
        (value, aux), grads = jax.eval_shape(differentiate, params, *(part[0] for part in parts))
        return jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), ((value, aux.metrics, aux.observed, grads), aux.fired_F))

    ((value, metrics, observed, grads), fired_F), _ = jax.lax.scan(one, start(), tuple(parts))
    return (value, LossAux(fired_F, metrics, observed)), grads
