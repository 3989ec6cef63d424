"""Latents kept as the few that are active: K values and places a row, in place of F numbers; and products with them.

    decode: ŷ_b = Σ_k v_bk W_dec[i_bk]          gradients: pick, to v; accumulate, to W_dec
    encoded: v_bk = (x_b − c) · W_enc[:, i_bk] + b_enc[i_bk]      gradients: accumulate, to W_enc; sums, to b_enc and c

None of them makes an array of shape [B, K, D]. Of the five products of a training step one, the encoder's, stays dense. Where
that pays is `worthwhile`'s to say; which code runs, plain JAX or a kernel, is `platform`'s.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from saejax.sae.platform import platform

# What a row's latent costs beside a product over all of them, measured on two CPU cores: sorting it, and D multiply-adds of
# gathered rows, in multiply-adds of a dense product.
_GATHERED, _SORTED = 25, 6400


def worthwhile(width: int, d_sae: int, k_max: int) -> bool:
    """Whether sparse products are faster than dense ones, on this platform.

    Args:
      width: D or E, of the rows of the dictionary.
      d_sae: F.
      k_max: K.
    """
    return platform().decode is not None and width * d_sae > k_max * (_GATHERED * width + _SORTED)


def strongest(pre_BxF: jax.Array, k_max: int) -> tuple[jax.Array, jax.Array]:
    """Each row's k_max largest entries, falling, float32 [B, K], and their places, int32 [B, K]; no gradient."""
    return platform().top_k(jax.lax.stop_gradient(pre_BxF), k_max)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def decode(values_BxK: jax.Array, indices_BxK: jax.Array, W_FxE: jax.Array, dtype: str = "float32") -> jax.Array:
    """Σ_k v_bk W[i_bk], float32 [B, E]; with "bfloat16" values and W, and in the gradients the rows, are rounded to it."""
    return platform().decode(values_BxK.astype(dtype), indices_BxK, W_FxE.astype(dtype))


def _decode_forward(values_BxK: jax.Array, indices_BxK: jax.Array, W_FxE: jax.Array, dtype: str):
    return decode(values_BxK, indices_BxK, W_FxE, dtype), (values_BxK, indices_BxK, W_FxE)


def _decode_backward(dtype: str, saved, grad_BxE: jax.Array):
    values_BxK, indices_BxK, W_FxE = saved
    grad_BxE = grad_BxE.astype(dtype)
    to_values_BxK = platform().pick(grad_BxE, W_FxE.astype(dtype), indices_BxK)
    to_W_FxE = platform().accumulate(values_BxK.astype(dtype), indices_BxK, grad_BxE, W_FxE.shape[0])
    return to_values_BxK, None, to_W_FxE


decode.defvjp(_decode_forward, _decode_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(6,))
def encoded(
    values_BxK: jax.Array,
    indices_BxK: jax.Array,
    x_BxD: jax.Array,
    centre_D: jax.Array | None,
    W_DxF: jax.Array,
    b_F: jax.Array,
    dtype: str = "float32",
) -> jax.Array:
    """The values, known to be the entries at `indices` of (x [− centre]) @ W + b, with the gradients that this gives them."""
    return values_BxK


def _encoded_forward(values_BxK, indices_BxK, x_BxD, centre_D, W_DxF, b_F, dtype):
    centred_BxD = x_BxD if centre_D is None else x_BxD - centre_D
    return values_BxK, (indices_BxK, centred_BxD, centre_D, W_DxF)


def _encoded_backward(dtype: str, saved, grad_BxK: jax.Array):
    indices_BxK, centred_BxD, centre_D, W_DxF = saved
    W_FxD, rounded_BxK = W_DxF.T.astype(dtype), grad_BxK.astype(dtype)
    to_b_F = scatter(grad_BxK, indices_BxK, W_DxF.shape[1])
    to_W_FxD = platform().accumulate(rounded_BxK, indices_BxK, centred_BxD.astype(dtype), W_DxF.shape[1])
    to_centre_D = None if centre_D is None else -(to_b_F.astype(dtype) @ W_FxD).astype(jnp.float32)
    to_x_BxD = platform().decode(rounded_BxK, indices_BxK, W_FxD)  # dropped by XLA where nothing needs it
    return None, None, to_x_BxD, to_centre_D, to_W_FxD.T, to_b_F


encoded.defvjp(_encoded_forward, _encoded_backward)


def scatter(values_BxK: jax.Array, indices_BxK: jax.Array, d_sae: int) -> jax.Array:
    """Sums of the values by latent, float32 [F]."""
    return jnp.zeros(d_sae).at[indices_BxK].add(values_BxK)


def dense(values_BxK: jax.Array, indices_BxK: jax.Array, d_sae: int) -> jax.Array:
    """The latents as F numbers a row, float32 [B, F]."""
    return jax.vmap(lambda values_K, indices_K: scatter(values_K, indices_K, d_sae))(values_BxK, indices_BxK)
