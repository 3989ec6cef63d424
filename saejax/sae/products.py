"""Matrix products, with gradients in the order that is fast, in the dtype of `--sae_dtype`.

float32, or bfloat16 operands with sums in float32. Everything else of an autoencoder is float32 in both: biases, thresholds,
activations, losses, the master weights and their gradients. So a JumpReLU threshold, whose kernel is narrower than bfloat16's
steps, learns the same.

The gradients are written out, since what JAX and XLA make of a product of their own accord costs a fifth of a step: the
gradient of a subtracted bias is a vector times a matrix, not a product whose rows are then summed; members that share their
rows are multiplied as a batch; and on a CPU, whose products are slow where they contract the first axis of their left operand,
the smaller operand is transposed first.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from saejax.sae.platform import platform


def rounded(a: jax.Array, dtype: str) -> jax.Array:
    """a in bfloat16, where that is the products' dtype; as it is otherwise."""
    return a.astype(dtype) if dtype == "bfloat16" else a


@functools.partial(jax.custom_vjp, nondiff_argnums=(5,))
def recalled(
    value_MxN: jax.Array,
    a_MxK: jax.Array,
    centre_K: jax.Array | None,
    b_KxN: jax.Array,
    bias_N: jax.Array,
    dtype: str = "float32",
) -> jax.Array:
    """`value`, known to be (a [− centre]) @ b + bias, with the gradients that this gives it; it is not made again."""
    return value_MxN


def _recalled_forward(value_MxN, a_MxK, centre_K, b_KxN, bias_N, dtype):
    centred_MxK = a_MxK if centre_K is None else a_MxK - centre_K
    return value_MxN, (rounded(centred_MxK, dtype), rounded(b_KxN, dtype), centre_K)


def _recalled_backward(dtype: str, saved, grad_MxN: jax.Array):
    *operands, centre_K = saved
    to_a_MxK, to_centre_K, to_b_KxN = _centred_backward(dtype, tuple(operands), grad_MxN)
    return None, to_a_MxK, None if centre_K is None else to_centre_K, to_b_KxN, grad_MxN.sum(0)


recalled.defvjp(_recalled_forward, _recalled_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def product(a_MxK: jax.Array, b_KxN: jax.Array, dtype: str = "float32") -> jax.Array:
    """a @ b, float32 [M, N]; with "bfloat16" the operands, forwards and backwards, are rounded to it first."""
    return _dot(rounded(a_MxK, dtype), rounded(b_KxN, dtype))


def _forward(a_MxK: jax.Array, b_KxN: jax.Array, dtype: str):
    a_MxK, b_KxN = rounded(a_MxK, dtype), rounded(b_KxN, dtype)
    return _dot(a_MxK, b_KxN), (a_MxK, b_KxN)


def _backward(dtype: str, operands: tuple[jax.Array, jax.Array], grad_MxN: jax.Array):
    a_MxK, b_KxN = operands
    grad_MxN = rounded(grad_MxN, dtype)
    return _dot(grad_MxN, b_KxN.T), _contract_rows(a_MxK, grad_MxN)


product.defvjp(_forward, _backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def transposed_product(a_MxK: jax.Array, b_NxK: jax.Array, dtype: str = "float32") -> jax.Array:
    """a @ bᵀ, float32 [M, N]; dtype as in `product`."""
    return _dot(rounded(a_MxK, dtype), rounded(b_NxK, dtype).T)


def _transposed_forward(a_MxK: jax.Array, b_NxK: jax.Array, dtype: str):
    a_MxK, b_NxK = rounded(a_MxK, dtype), rounded(b_NxK, dtype)
    return _dot(a_MxK, b_NxK.T), (a_MxK, b_NxK)


def _transposed_backward(dtype: str, operands: tuple[jax.Array, jax.Array], grad_MxN: jax.Array):
    a_MxK, b_NxK = operands
    grad_MxN = rounded(grad_MxN, dtype)
    return _dot(grad_MxN, b_NxK), _contract_rows(grad_MxN, a_MxK)


transposed_product.defvjp(_transposed_forward, _transposed_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def centred_product(a_MxK: jax.Array, centre_K: jax.Array, b_KxN: jax.Array, dtype: str = "float32") -> jax.Array:
    """(a − centre) @ b, float32 [M, N]; dtype as in `product`."""
    return _dot(rounded(a_MxK - centre_K, dtype), rounded(b_KxN, dtype))


def _centred_forward(a_MxK: jax.Array, centre_K: jax.Array, b_KxN: jax.Array, dtype: str):
    return _forward(a_MxK - centre_K, b_KxN, dtype)


def _centred_backward(dtype: str, operands: tuple[jax.Array, jax.Array], grad_MxN: jax.Array):
    to_a_MxK, to_b_KxN = _backward(dtype, operands, grad_MxN)
    to_centre_K = -(rounded(grad_MxN.sum(0), dtype) @ operands[1].T).astype(grad_MxN.dtype)
    return to_a_MxK, to_centre_K, to_b_KxN  # where nothing needs the gradient of a, XLA drops its product


centred_product.defvjp(_centred_forward, _centred_backward)


@custom_vmap
def _dot(a_MxK: jax.Array, b_KxN: jax.Array) -> jax.Array:
    """a @ b of one dtype, with sums, and the result, of at least float32."""
    if a_MxK.dtype != jnp.bfloat16:
        return a_MxK @ b_KxN
    if platform().multiplies_bfloat16:
        return jnp.matmul(a_MxK, b_KxN, preferred_element_type=jnp.float32)
    return a_MxK.astype(jnp.float32) @ b_KxN.astype(jnp.float32)  # the same numbers


@_dot.def_vmap
def _dot_of_members(n_members: int, batched: list[bool], a: jax.Array, b: jax.Array) -> tuple[jax.Array, bool]:
    """A batch of products: an operand that members share is repeated, which costs less than one wide product's transposes."""
    a, b = (v if has_axis else jnp.broadcast_to(v, (n_members, *v.shape)) for v, has_axis in zip((a, b), batched))
    return _dot(a, b), True


def _contract_rows(a_MxK: jax.Array, b_MxN: jax.Array) -> jax.Array:
    """aᵀ @ b, float32 [K, N]."""
    if not platform().transposes_first:
        return _dot(a_MxK.T, b_MxN)
    if a_MxK.shape[1] <= b_MxN.shape[1]:
        return _dot(_transposed(a_MxK), b_MxN)
    return _transposed(_dot(_transposed(b_MxN), a_MxK))


def _transposed(a_MxN: jax.Array) -> jax.Array:
    """aᵀ as an array of its own, which XLA does not join with the product before or after it."""
    return jax.lax.optimization_barrier(jax.lax.optimization_barrier(a_MxN).T)
