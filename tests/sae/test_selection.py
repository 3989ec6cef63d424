"""Top-k by bisection against sorting."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saejax.sae import selection
from saejax.sae.selection import top_k_mask


def oracle(x, k):
    """Each row's k largest positive entries, by sorting."""
    mask = np.zeros(x.shape, bool)
    for row, marks in zip(x, mask):
        order = np.argsort(-row, kind="stable")[:k]
        marks[order[row[order] > 0]] = True
    return mask


@pytest.mark.parametrize("shape", [(1, 8), (7, 33), (64, 1000), (600, 1024)])
@pytest.mark.parametrize("k", [0, 1, 5, 31, 4000])
def test_equals_sorting(shape, k):
    x = np.asarray(
        jax.random.normal(jax.random.key(k), shape) * 10.0 ** jax.random.uniform(jax.random.key(1), shape, minval=-6, maxval=6)
    )
    np.testing.assert_array_equal(jax.jit(top_k_mask)(x, k), oracle(x, k))


def test_k_differs_between_the_members_of_a_vmap():
    x = jax.random.normal(jax.random.key(0), (4, 700, 512))
    ks = jnp.array([1, 8, 64, 300])
    masks = jax.jit(jax.vmap(top_k_mask))(x, ks)
    for mask, rows, k in zip(masks, x, ks):
        np.testing.assert_array_equal(mask, oracle(np.asarray(rows), int(k)))


def test_rows_shared_by_all_members():
    x = jax.random.normal(jax.random.key(0), (50, 64))
    masks = jax.vmap(top_k_mask, in_axes=(None, 0))(x, jnp.array([2, 9]))
    np.testing.assert_array_equal(masks.sum((1, 2)), [100, 450])


def test_coinciding_values_are_all_kept():
    assert top_k_mask(jnp.array([[1.0, 2.0, 2.0, 0.5]]), 1).tolist() == [[False, True, True, False]]


def test_infinite_and_tiny_values_keep_their_order():
    x = jnp.array([[jnp.inf, 1e-37, 3e38, -jnp.inf, 0.0]])
    assert top_k_mask(x, 2).tolist() == [[True, False, True, False, False]]
    assert top_k_mask(x, 5).tolist() == [[True, True, True, False, False]]


def test_no_gradient_passes_through_the_choice_and_it_is_exact_through_the_values():
    x = jax.random.normal(jax.random.key(3), (5, 20))

    def kept_sum(x, k):
        return jnp.sum(jnp.where(top_k_mask(x, k), x, 0.0) ** 2)

    grads = jax.vmap(jax.grad(kept_sum), in_axes=(None, 0))(x, jnp.array([3, 4]))
    for grad, k in zip(grads, (3, 4)):
        np.testing.assert_allclose(grad, 2 * np.where(oracle(np.asarray(x), k), x, 0.0), rtol=1e-6)


def test_the_path_for_accelerators_gives_the_same(monkeypatch):
    x = jax.random.normal(jax.random.key(0), (2, 300, 512))
    on_cpu = jax.vmap(top_k_mask)(x, jnp.array([4, 40]))
    monkeypatch.setattr(selection.jax, "default_backend", lambda: "gpu")
    np.testing.assert_array_equal(jax.vmap(top_k_mask)(x, jnp.array([4, 40])), on_cpu)
