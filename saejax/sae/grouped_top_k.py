"""The k largest of each row in two smaller sorts: for platforms whose `lax.top_k` sorts whole rows, as XLA does on a GPU.

A row is dealt into n groups of g entries. The k largest lie in the k groups whose largest entries are the largest; among these
k g candidates they are found. With g = √(F / k) both sorts are of about √(F k) entries in place of F.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp


def grouped_top_k(x_BxF: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    """As `lax.top_k`; where entries coincide it may give others of them.

    Args:
      x_BxF: float rows.
      k: static, at most F.

    Returns:
      (the k largest of each row, falling, [B, k]; their places, int32 [B, k]).
    """
    B, F = x_BxF.shape
    size = max(1, round((F / k) ** 0.5))
    n_groups = -(-F // size)
    padded_BxGxN = jnp.pad(x_BxF, ((0, 0), (0, size * n_groups - F)), constant_values=-jnp.inf).reshape(B, size, n_groups)
    _, groups_BxK = jax.lax.top_k(padded_BxGxN.max(1), k)
    places_BxC = (groups_BxK[:, None, :] + n_groups * jnp.arange(size)[:, None]).reshape(B, -1)
    candidates_BxC = jnp.take_along_axis(padded_BxGxN.reshape(B, -1), places_BxC, axis=1)
    values_BxK, chosen_BxK = jax.lax.top_k(candidates_BxC, k)
    return values_BxK, jnp.take_along_axis(places_BxC, chosen_BxK, axis=1)
