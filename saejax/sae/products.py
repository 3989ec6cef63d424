"""Matrix products in the dtype of `--sae_dtype`: float32, or bfloat16 operands with sums in float32.

Everything else of an autoencoder is float32 in both: biases, thresholds, activations, losses, the master weights and their
gradients. So a JumpReLU threshold, whose kernel is narrower than bfloat16's steps, learns the same.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp


def product(a_MxK: jax.Array, b_KxN: jax.Array, dtype: str = "float32") -> jax.Array:
    """a @ b, float32 [M, N]; with "bfloat16" the operands, forwards and backwards, are rounded to it first."""
    return a_MxK @ b_KxN if dtype == "float32" else _rounded(a_MxK, b_KxN, dtype)


def _dot(a_MxK: jax.Array, b_KxN: jax.Array, dtype: str) -> jax.Array:
    return jnp.dot(a_MxK.astype(dtype), b_KxN.astype(dtype), preferred_element_type=jnp.float32)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _rounded(a_MxK: jax.Array, b_KxN: jax.Array, dtype: str) -> jax.Array:
    return _dot(a_MxK, b_KxN, dtype)


def _forward(a_MxK: jax.Array, b_KxN: jax.Array, dtype: str):
    return _dot(a_MxK, b_KxN, dtype), (a_MxK.astype(dtype), b_KxN.astype(dtype))


def _backward(dtype: str, operands: tuple[jax.Array, jax.Array], grad_MxN: jax.Array):
    a_MxK, b_KxN = operands
    return _dot(grad_MxN, b_KxN.T, dtype), _dot(a_MxK.T, grad_MxN, dtype)


_rounded.defvjp(_forward, _backward)
