"""Latents of which few are active: values and places in place of F numbers a row; and products with them.

    decode: ŷ_b = Σ v W_dec[f] over the entries (b, f, v) of a row      gradients: pick, to v; accumulate, to W_dec
    encoded: v = (x_b − c) · W_enc[:, f] + b_enc[f]                     gradients: accumulate, to W_enc; sums, to b_enc and c

None of them makes an array of shape [B, K, D]. Of the five products of a training step one, the encoder's, stays dense. Where
that pays is `worthwhile`'s to say; which code runs, plain JAX or a kernel, is `platform`'s.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from saejax.sae.places import Places, places_of
from saejax.sae.platform import platform
from saejax.sae.products import rounded
from saejax.sae.selection import keep_top_of_all

# What a row's latent costs beside a product over all of them, measured on two CPU cores: sorting it, and D multiply-adds of
# gathered rows, in multiply-adds of a dense product.
_GATHERED, _SORTED = 25, 6400


def worthwhile(width: int, d_sae: int, k_max: int) -> bool:
    """Whether sparse products are faster than dense ones, on this platform.

    Args:
      width: D or E, of the rows of the dictionary.
      d_sae: F.
      k_max: K, active latents a row.
    """
    return platform().decode is not None and width * d_sae > k_max * (_GATHERED * width + _SORTED)


def strongest_of_rows(pre_BxF: jax.Array, k: jax.Array, k_max: int) -> tuple[jax.Array, Places]:
    """The k largest positive entries of each row, with 0 for the others of k_max, float32 [B, K]; no gradient.

    Args:
      pre_BxF: float.
      k: int32 scalar, traced.
      k_max: its static bound, K.
    """
    values_BxK, latents_BxK = platform().top_k(jax.lax.stop_gradient(pre_BxF), k_max)
    return jnp.where((values_BxK > 0) & (jnp.arange(k_max) < k), values_BxK, 0.0), Places(latents_BxK)


def strongest_of_all(pre_BxF: jax.Array, n: jax.Array, n_max: int) -> tuple[jax.Array, Places]:
    """The n largest positive entries of all rows, row by row, with 0 for the others of n_max, float32 [N]; no gradient.

    Args:
      pre_BxF: float.
      n: int32 scalar, traced.
      n_max: its static bound, N.
    """
    return places_of(keep_top_of_all(jax.lax.stop_gradient(pre_BxF), n), n_max)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def decode(values: jax.Array, places: Places, W_FxE: jax.Array, n_rows: int, dtype: str = "float32") -> jax.Array:
    """Σ v W[f] over each row's entries, float32 [B, E].

    Args:
      values: float32, [B, K] or [N].
      places: theirs.
      W_FxE: float32.
      n_rows: B.
      dtype: "bfloat16" rounds values and W, and in the gradients the rows, to it.
    """
    return platform().decode(rounded(values, dtype), places, rounded(W_FxE, dtype), n_rows)


def _decode_forward(values: jax.Array, places: Places, W_FxE: jax.Array, n_rows: int, dtype: str):
    return decode(values, places, W_FxE, n_rows, dtype), (values, places, W_FxE)


def _decode_backward(n_rows: int, dtype: str, saved, grad_BxE: jax.Array):
    values, places, W_FxE = saved
    grad_BxE = rounded(grad_BxE, dtype)
    to_values = platform().pick(grad_BxE, rounded(W_FxE, dtype), places)
    return to_values, None, platform().accumulate(rounded(values, dtype), places, grad_BxE, len(W_FxE))


decode.defvjp(_decode_forward, _decode_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(6,))
def encoded(
    values: jax.Array,
    places: Places,
    x_BxD: jax.Array,
    centre_D: jax.Array | None,
    W_DxF: jax.Array,
    b_F: jax.Array,
    dtype: str = "float32",
) -> jax.Array:
    """The values, known to be the entries of (x [− centre]) @ W + b at the places, or 0 without a gradient.

    Args:
      values: float32, [B, K] or [N].
      places: theirs.
      x_BxD, centre_D, W_DxF, b_F: float32, to which the gradients go.
      dtype: as in `decode`.
    """
    return values


def _encoded_forward(values, places, x_BxD, centre_D, W_DxF, b_F, dtype):
    centred_BxD = x_BxD if centre_D is None else x_BxD - centre_D
    return values, (values > 0, places, centred_BxD, centre_D, W_DxF)


def _encoded_backward(dtype: str, saved, grad: jax.Array):
    active, places, centred_BxD, centre_D, W_DxF = saved
    grad, W_FxD, d_sae = jnp.where(active, grad, 0.0), rounded(W_DxF.T, dtype), W_DxF.shape[1]
    to_b_F = by_latent(grad, places, d_sae)
    to_W_FxD = platform().accumulate(rounded(grad, dtype), places, rounded(centred_BxD, dtype), d_sae)
    to_centre_D = None if centre_D is None else -(rounded(to_b_F, dtype) @ W_FxD).astype(jnp.float32)
    to_x_BxD = platform().decode(rounded(grad, dtype), places, W_FxD, len(centred_BxD))  # XLA drops it where nothing needs it
    return None, None, to_x_BxD, to_centre_D, to_W_FxD.T, to_b_F


encoded.defvjp(_encoded_forward, _encoded_backward)


def by_latent(values: jax.Array, places: Places, d_sae: int) -> jax.Array:
    """Sums of the values by latent, float32 [F]."""
    return jnp.zeros(d_sae).at[places.latents].add(values)
