"""The language model as a part of a loss: tokens to rows, and predicted rows to what they do to its predictions; pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from saejax.lm import gpt2
from saejax.sae.scaling import Undoing, normalize, undo

LOSSES = ("kl", "ce")


class Splice(NamedTuple):
    """Where an autoencoder stands in a GPT-2, and how its rows are scaled.

    Attributes:
      config, dtype: the GPT-2's.
      reads, writes: hook names; equal for an autoencoder.
      x_scale, y_scale: factors on the rows of each.
      normalize_rows: as `scaling.normalize` takes it.
      special: the token at which nothing is spliced, nor at a window's first position; None for splicing everywhere.
    """

    config: gpt2.GPT2Config
    dtype: Any
    reads: str
    writes: str
    x_scale: float
    y_scale: float
    normalize_rows: str
    special: int | None


class Text(NamedTuple):
    """A batch of text, seen by the undisturbed model.

    Attributes:
      y_NxE: the rows at `writes`, scaled; those that are not kept are replaced by others that are, in their order.
      tokens_BxL: windows.
      keep_BxL: bool, where the prediction is put in place of the activation.
      clean_BxLxV: log-probabilities.
      activation: at `writes`.
      undoing: of the rows' own scaling.
    """

    y_NxE: jax.Array
    tokens_BxL: jax.Array
    keep_BxL: jax.Array
    clean_BxLxV: jax.Array
    activation: jax.Array
    undoing: Undoing


def read(params: gpt2.Params, splice: Splice, tokens_BxL: jax.Array) -> tuple[jax.Array, Text]:
    """Tokens → (rows x_NxD at `reads`, scaled, N = B·L; the text)."""
    sites = tuple({splice.reads, splice.writes})
    logits_BxLxV, captured = gpt2.run(params, tokens_BxL, config=splice.config, capture=sites, dtype=splice.dtype)
    keep_BxL = jnp.ones(tokens_BxL.shape, bool)
    if splice.special is not None:
        keep_BxL = (tokens_BxL != splice.special) & (jnp.arange(tokens_BxL.shape[1]) > 0)
    keep_N, place_N = keep_BxL.ravel(), jnp.arange(tokens_BxL.size)
    kept_first_N = jnp.argsort(~keep_N, stable=True)
    source_N = jnp.where(keep_N, place_N, kept_first_N[place_N % jnp.maximum(keep_N.sum(), 1)])

    def rows(site: str, scale: float) -> tuple[jax.Array, Undoing]:
        rows_NxD = captured[site].reshape(tokens_BxL.size, -1)[source_N].astype(jnp.float32) * scale
        return normalize(rows_NxD, splice.normalize_rows)

    x_NxD, undoing = rows(splice.reads, splice.x_scale)
    y_NxE = x_NxD if splice.reads == splice.writes else rows(splice.writes, splice.y_scale)[0]
    clean_BxLxV = jax.nn.log_softmax(logits_BxLxV)
    return x_NxD, Text(y_NxE, tokens_BxL, keep_BxL, clean_BxLxV, captured[splice.writes], undoing)


def damage(params: gpt2.Params, splice: Splice, kind: str) -> Callable[[jax.Array, Text], jax.Array]:
    """Makes (predicted rows [N, E], scaled, Text) -> a scalar in nats: what they do when put in the activation's place.

    Args:
      params: the GPT-2's.
      splice: where.
      kind: "kl", the mean over positions of KL(clean ‖ spliced), or "ce", the mean cross-entropy of the next token.
    """

    def measure(y_hat_NxE: jax.Array, text: Text) -> jax.Array:
        y_hat_NxE = undo(y_hat_NxE, text.undoing) / splice.y_scale
        shape = text.activation.shape
        kept = text.keep_BxL.reshape(*text.keep_BxL.shape, *(1 for _ in shape[2:]))
        spliced = jnp.where(kept, y_hat_NxE.reshape(shape).astype(text.activation.dtype), text.activation)
        logits_BxLxV, _ = gpt2.run(
            params, text.tokens_BxL, config=splice.config, edits={splice.writes: spliced}, dtype=splice.dtype
        )
        if kind == "ce":
            return gpt2.next_token_losses(logits_BxLxV, text.tokens_BxL).mean()
        clean_BxLxV = text.clean_BxLxV
        return jnp.mean(jnp.sum(jnp.exp(clean_BxLxV) * (clean_BxLxV - jax.nn.log_softmax(logits_BxLxV)), axis=-1))

    return measure
