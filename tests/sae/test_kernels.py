"""The GPU's kernels, run as XLA operations: sums against NumPy in float64, selection against bisection, bit for bit.

Without a GPU what a kernel computes is tested, and that it is lowered for CUDA; that it runs there, and how fast, is not.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractDevice, AbstractMesh, use_abstract_mesh

from saejax.sae import bisection, kernels

PRODUCTS = [((5, 7, 33, 300), "float32"), ((16, 8, 64, 128), "bfloat16")]  # B, K, F, E


def compiled(function, in_axes=None, **options):
    """Without a GPU; vmapped, where in_axes are given."""
    function = functools.partial(function, interpret=True)
    function = jax.vmap(function, in_axes) if in_axes else function
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0}, **options)  # takes half the time


decode, pick = compiled(kernels.decode), compiled(kernels.pick)
accumulate = compiled(kernels.accumulate, static_argnums=3)
bisected = jax.jit(bisection.kth_largest)
kth_largest, kth_largest_of_all = compiled(kernels.kth_largest), compiled(kernels.kth_largest_of_all)


def sparse(B, K, F, E, seed=0):
    """Values with zeros among them and a row of zeros, indices, W and rows."""
    rng = np.random.default_rng(seed)
    values_BxK = rng.standard_normal((B, K)).astype(np.float32) * (rng.random((B, K)) < 0.8)
    values_BxK[B // 2] = 0
    indices_BxK = rng.integers(0, F, (B, K)).astype(np.int32)
    W_FxE, rows_BxE = (rng.standard_normal(shape).astype(np.float32) for shape in ((F, E), (B, E)))
    return values_BxK, indices_BxK, W_FxE, rows_BxE


def dense_of(values_BxK, indices_BxK, F):
    f_BxF = np.zeros((len(values_BxK), F))
    np.add.at(f_BxF, (np.arange(len(values_BxK))[:, None], indices_BxK), values_BxK)
    return f_BxF


def close(got, oracle):
    assert got.dtype == jnp.float32 and got.shape == oracle.shape
    np.testing.assert_allclose(got, oracle, rtol=1e-5, atol=1e-5 * max(1.0, np.abs(oracle).max()))


@pytest.mark.parametrize("shape, dtype", PRODUCTS)
def test_products_equal_dense_products(shape, dtype):
    values, indices, W, rows = sparse(*shape)
    W, rows = jnp.asarray(W, dtype), jnp.asarray(rows, dtype)
    W_64, rows_64 = np.asarray(W, np.float64), np.asarray(rows, np.float64)
    dense = dense_of(values, indices, shape[2])
    close(decode(values, indices, W), dense @ W_64)
    close(pick(rows, W, indices), np.take_along_axis(rows_64 @ W_64.T, indices, 1))
    close(accumulate(values, indices, rows, shape[2]), dense.T @ rows_64)


@pytest.mark.parametrize(
    "counts",
    [(200, 0, 0), (0, 0, 200), (64, 64, 72), (63, 1, 136), (1, 128, 71), (65, 127, 8), (3, 190, 7), (0, 192, 8), (0, 0, 0)],
)
def test_latents_of_any_number_of_entries(counts):
    """Pieces are 64 entries: latents that are part of one, whole ones, several, with others before and after."""
    rng, n_live = np.random.default_rng(0), sum(counts)
    latents = np.pad(np.repeat([0, 1, 2], counts), (0, 200 - n_live), constant_values=1)
    values = np.where(np.arange(200) < n_live, 1 + rng.random(200), 0)
    order = rng.permutation(200)
    values, indices = values[order, None].astype(np.float32), latents[order, None].astype(np.int32)
    rows = rng.standard_normal((200, 5)).astype(np.float32)
    close(accumulate(values, indices, rows, 4), dense_of(values, indices, 4).T @ rows.astype(np.float64))


def test_rows_whose_value_is_zero_are_not_read():
    W = np.array([[np.nan, np.inf], [1, 2]], np.float32)
    np.testing.assert_array_equal(decode(np.array([[0, 3]], np.float32), np.array([[0, 1]], np.int32), W), [[3, 6]])


def test_products_of_members_are_those_of_each_alone():
    members = [sparse(5, 7, 33, 300, seed) for seed in range(3)]  # a shape that is compiled already
    values, indices, W, rows = (np.stack(arrays) for arrays in zip(*members))
    shared = rows[0]
    decoded = compiled(kernels.decode, (0, 0, 0))(values, indices, W)
    picked = compiled(kernels.pick, (None, 0, 0))(shared, W, indices)
    summed = compiled(functools.partial(kernels.accumulate, n_latents=33), (0, 0, None))(values, indices, shared)
    for m, (v, i, w, _) in enumerate(members):
        np.testing.assert_array_equal(decoded[m], decode(v, i, w))
        np.testing.assert_array_equal(picked[m], pick(shared, w, i))
        np.testing.assert_array_equal(summed[m], accumulate(v, i, shared, 33))


def non_negative(shape, seed=0):
    """Half zeros, over many orders of magnitude, with values that coincide, and a row of zeros."""
    rng = np.random.default_rng(seed)
    values = np.maximum(rng.standard_normal(shape), 0) * 10.0 ** rng.uniform(-6, 6, shape)
    values[:, -1] = values[:, 0]
    values[len(values) // 2] = 0
    return values.astype(np.float32)


def same_bits(got, expected):
    np.testing.assert_array_equal(np.asarray(got).view(np.int32), np.asarray(expected).view(np.int32))


@pytest.mark.parametrize("shape", [(1, 1), (7, 1000), (2, 5000), (2, 66_001)])  # the last by passes, in two spans
def test_kth_largest_of_rows(shape):
    values = non_negative(shape)
    for k in [0, 1, 5, 31, shape[1] // 3, shape[1], 2 * shape[1]]:
        same_bits(kth_largest(values, k), bisected(values, k))


def test_k_differs_between_rows():
    values, k_B = non_negative((7, 1000)), np.arange(7, dtype=np.int32) ** 3
    for row, (threshold, k) in enumerate(zip(kth_largest(values, k_B), k_B)):
        same_bits(threshold, bisected(values, k)[row])


@pytest.mark.parametrize("shape", [(6, 50), (3, 23_000)])
def test_kth_largest_of_all(shape):
    values = non_negative(shape)
    for k in [0, 1, 31, values.size // 3, values.size, 2 * values.size]:
        same_bits(kth_largest_of_all(values, k), bisected(values.reshape(1, -1), k)[0])


def test_infinite_and_tiny_values_keep_their_order():
    values = np.zeros((6, 50), np.float32)
    values[3, 10:14] = [1e-37, np.inf, 2.0, 3e38]
    in_order = [np.inf, np.float32(3e38), 2.0, np.float32(1e-37), 0.0]
    assert [kth_largest(values, k)[3] for k in range(1, 6)] == in_order
    assert [kth_largest_of_all(values, k) for k in range(1, 6)] == in_order


def test_more_values_than_can_be_counted():
    with pytest.raises(ValueError, match="fewer rows"):
        jax.eval_shape(kernels.kth_largest_of_all, *arrays((2**15, 2**16), ()))


def test_selection_of_members_with_their_own_k_and_shared_rows():
    values, k_M = non_negative((6, 50)), np.array([1, 4, 20], np.int32)
    of_rows = compiled(kernels.kth_largest, (None, 0))(values, k_M)
    of_all = compiled(kernels.kth_largest_of_all, (0, 0))(np.stack([values, 2 * values, 3 * values]), k_M)
    for m, k in enumerate(k_M):
        same_bits(of_rows[m], bisected(values, k))
        same_bits(of_all[m], bisected((m + 1) * values.reshape(1, -1), k)[0])


def arrays(*shapes, dtype="float32"):
    return [jax.ShapeDtypeStruct(shape, dtype) for shape in shapes]


def calls(B=8192, K=32, F=24576, E=768):
    """Each kernel, at a size of use, with its arguments' shapes."""
    (indices,) = arrays((B, K), dtype="int32")
    (k,) = arrays((), dtype="int32")
    for dtype in ("float32", "bfloat16"):
        values, W, rows = arrays((B, K)) + arrays((F, E), (B, E), dtype=dtype)
        yield f"decode-{dtype}", kernels.decode, (values, indices, W)
        yield f"pick-{dtype}", kernels.pick, (rows, W, indices)
        yield f"accumulate-{dtype}", functools.partial(kernels.accumulate, n_latents=F), (values, indices, rows)
    yield "kth_largest", kernels.kth_largest, (*arrays((B, F)), k)
    yield "kth_largest of long rows", kernels.kth_largest, (*arrays((B, 131_072)), k)
    yield "kth_largest_of_all", kernels.kth_largest_of_all, (*arrays((B, F)), k)


@pytest.mark.parametrize("members", [None, 8])
@pytest.mark.parametrize("function, shapes", [pytest.param(*call, id=name) for name, *call in calls()])
def test_lowers_for_cuda(function, shapes, members):
    """From Python to Triton's IR; what follows, from there to the GPU's code, XLA does where there is one."""
    if members:
        function = jax.vmap(function)
        shapes = [jax.ShapeDtypeStruct((members, *shape.shape), shape.dtype) for shape in shapes]
    h200 = AbstractDevice("NVIDIA H200", num_cores=132, platform="gpu")
    with use_abstract_mesh(AbstractMesh((), (), abstract_device=h200)):
        text = jax.jit(function).trace(*shapes).lower(lowering_platforms=("cuda",)).as_text()
    assert "xla.gpu.triton" in text
