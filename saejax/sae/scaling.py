"""Scalings of each row by itself, undone in the output; SAELens's `normalize_activations`.

  constant_norm_rescale: x √D / ‖x‖₂
  layer_norm: (x − mean) / (std + 1e-5), std unbiased, over a row's dimensions

Scaling all rows by one number (`expected_average_only_in`) needs no state and is folded into the weights instead
(`InferenceSAE.for_raw_input`). Sources: sae-lens `saes/sae.py`; Gao et al. 2024's code, `LN`, which is `layer_norm`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

PER_ROW = ("constant_norm_rescale", "layer_norm")
_EPSILON = 1e-5

Undoing = tuple[jax.Array, jax.Array] | None


def normalize(x_BxD: jax.Array, how: str) -> tuple[jax.Array, Undoing]:
    """(scaled rows, (shift [B, 1], factor [B, 1]) that `undo` takes), or the rows as they are where `how` is not in PER_ROW.

    Args:
      x_BxD: float rows.
      how: a name in `PER_ROW`, or any other for none.
    """
    if how == "constant_norm_rescale":
        norm_Bx1 = jnp.linalg.norm(x_BxD, axis=-1, keepdims=True)
        factor_Bx1 = norm_Bx1 / x_BxD.shape[-1] ** 0.5
        return x_BxD / factor_Bx1, (jnp.zeros_like(factor_Bx1), factor_Bx1)
    if how == "layer_norm":
        mean_Bx1 = x_BxD.mean(-1, keepdims=True)
        std_Bx1 = jnp.std(x_BxD, axis=-1, ddof=1, keepdims=True)
        return (x_BxD - mean_Bx1) / (std_Bx1 + _EPSILON), (mean_Bx1, std_Bx1)
    return x_BxD, None


def undo(x_BxD: jax.Array, undoing: Undoing) -> jax.Array:
    """Rows in the scaling's units → in the input's, as both peers do (layer_norm's epsilon is not given back)."""
    if undoing is None:
        return x_BxD
    shift_Bx1, factor_Bx1 = undoing
    return x_BxD * factor_Bx1 + shift_Bx1
