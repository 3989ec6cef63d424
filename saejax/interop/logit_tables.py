"""What each latent does to the logits directly: its decoder row through the unembedding.

Source: SAEDashboard's `pos_str` and `neg_str`, after Elhage et al. 2021's direct path.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from saejax.errors import InputError

_BLOCK_FLOATS = 2**24  # of logits at once: 64 MiB


class LogitTables(NamedTuple):
    """Each latent's n most boosted tokens, the most first, and n most suppressed, the most first.

    Attributes:
      pos_str, neg_str: F tuples of n texts.
      pos_values, neg_values [F, N]: float32, what a latent of value 1 adds to the token's logit.
    """

    pos_str: tuple[tuple[str, ...], ...]
    pos_values: np.ndarray
    neg_str: tuple[tuple[str, ...], ...]
    neg_values: np.ndarray


def logit_tables(W_dec_FxD: jax.Array, W_U_DxV: jax.Array, tokens: Sequence[str], n: int) -> LogitTables:
    """The tokens that each latent boosts and suppresses most; logits are made a block of latents at a time.

    Args:
      W_dec_FxD: float32, decoder rows in the residual stream.
      W_U_DxV: float32, the unembedding.
      tokens: the V tokens' texts.
      n: how many tokens of each kind.

    Raises:
      InputError: shapes that do not fit, or an n that is not from 1 to V.
    """
    (F, D), V = W_dec_FxD.shape, W_U_DxV.shape[1]
    if W_U_DxV.shape[0] != D or len(tokens) != V:
        raise InputError(f"W_dec {(F, D)}, W_U {W_U_DxV.shape} and {len(tokens)} tokens do not fit; give [F, D], [D, V] and V")
    if not 1 <= n <= V:
        raise InputError(f"n={n}: not a number of tokens; give one from 1 to {V}")
    block = max(1, _BLOCK_FLOATS // V)
    tables = [_extremes(W_dec_FxD[i : i + block], W_U_DxV, n) for i in range(0, F, block)]
    highest, highest_ids, lowest, lowest_ids = (np.concatenate([np.asarray(a) for a in column]) for column in zip(*tables))

    def texts(ids_FxN: np.ndarray) -> tuple[tuple[str, ...], ...]:
        return tuple(tuple(tokens[i] for i in ids_N) for ids_N in ids_FxN)

    return LogitTables(texts(highest_ids), highest, texts(lowest_ids), lowest)


@partial(jax.jit, static_argnames="n")
def _extremes(W_dec_BxD: jax.Array, W_U_DxV: jax.Array, n: int) -> tuple[jax.Array, ...]:
    logits_BxV = jnp.matmul(W_dec_BxD, W_U_DxV, precision=jax.lax.Precision.HIGHEST)
    highest_BxN, highest_ids_BxN = jax.lax.top_k(logits_BxV, n)
    negated_BxN, lowest_ids_BxN = jax.lax.top_k(-logits_BxV, n)
    return highest_BxN, highest_ids_BxN, -negated_BxN, lowest_ids_BxN
