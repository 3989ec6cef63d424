"""Top-k by bisection against sorting."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saejax.sae import selection
from saejax.sae.grouped_top_k import grouped_top_k
from saejax.sae.selection import keep_top_k


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
    np.testing.assert_array_equal(jax.jit(keep_top_k)(x, k), np.where(oracle(x, k), x, 0.0))


def test_k_differs_between_the_members_of_a_vmap():
    x = jax.random.normal(jax.random.key(0), (4, 700, 512))
    ks = jnp.array([1, 8, 64, 300])
    kept = jax.jit(jax.vmap(keep_top_k))(x, ks)
    for one, rows, k in zip(kept, x, ks):
        np.testing.assert_array_equal(one > 0, oracle(np.asarray(rows), int(k)))


def test_rows_shared_by_all_members():
    x = jax.random.normal(jax.random.key(0), (50, 64))
    kept = jax.vmap(keep_top_k, in_axes=(None, 0))(x, jnp.array([2, 9]))
    np.testing.assert_array_equal((kept > 0).sum((1, 2)), [100, 450])


def test_coinciding_values_are_all_kept():
    assert keep_top_k(jnp.array([[1.0, 2.0, 2.0, 0.5]]), 1).tolist() == [[0, 2, 2, 0]]


def test_infinite_and_tiny_values_keep_their_order():
    x = jnp.array([[jnp.inf, 1e-37, 3e38, -jnp.inf, 0.0]])
    assert (keep_top_k(x, 2) > 0).tolist() == [[True, False, True, False, False]]
    assert (keep_top_k(x, 5) > 0).tolist() == [[True, True, True, False, False]]


def test_no_gradient_passes_through_the_choice_and_it_is_exact_through_the_values():
    x = jax.random.normal(jax.random.key(3), (5, 20))

    def kept_sum(x, k):
        return jnp.sum(keep_top_k(x, k) ** 2)

    grads = jax.vmap(jax.grad(kept_sum), in_axes=(None, 0))(x, jnp.array([3, 4]))
    for grad, k in zip(grads, (3, 4)):
        np.testing.assert_allclose(grad, 2 * np.where(oracle(np.asarray(x), k), x, 0.0), rtol=1e-6)


@pytest.mark.parametrize("k_max", [0, 40])
def test_the_path_for_tpus_gives_the_same_where_nothing_is_approximate(k_max, monkeypatch):
    """Off a TPU `lax.approx_max_k` is exact."""
    x, ks = jax.random.normal(jax.random.key(0), (2, 300, 512)), jnp.array([4, 40])
    on_cpu = jax.vmap(keep_top_k)(x, ks)
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    np.testing.assert_array_equal(jax.vmap(lambda x, k: keep_top_k(x, k, k_max))(x, ks), on_cpu)


@pytest.mark.parametrize(("F", "k"), [(1, 1), (30, 7), (1000, 32), (1031, 3), (40, 40)])
def test_top_k_by_groups_equals_sorting(F, k):
    x = jax.random.normal(jax.random.key(F), (17, F))
    values, places = jax.jit(grouped_top_k, static_argnums=1)(x, k)
    expected, expected_places = jax.lax.top_k(x, k)
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(places, expected_places)


def test_the_kth_largest_itself_is_kept():
    """Jitted behind a product and a sum, by members.

    XLA has made such values twice, in two orders of sums, in test_sparse's saelens cases as they once were compiled; hence
    `_as_one_array`. No small program in which it does so today is known, so this cannot show that it is needed.
    """
    x, W, b = (jax.random.normal(jax.random.key(i), s) for i, s in enumerate([(96, 12), (2, 12, 160), (2, 160)]))

    @jax.jit
    def kept(W, b, k):
        return jax.vmap(lambda W, b: keep_top_k(x @ (W * (1 + b**2)) + b, k))(W, b)

    for k in (1, 7, 33):
        np.testing.assert_array_equal((kept(W, b, k) > 0).sum(-1), k)
    groups = jax.jit(jax.vmap(lambda W, b: selection.keep_group_max(x @ W + b, 8)))(W, b)
    np.testing.assert_array_equal((groups > 0).sum(-1), 8)


@pytest.mark.parametrize("shape", [(1, 8), (7, 33), (64, 1000), (600, 1024)])
def test_the_largest_of_all_rows_equal_sorting(shape):
    x = np.asarray(jax.random.normal(jax.random.key(1), shape)) * 10.0 ** np.linspace(-6, 6, shape[0])[:, None]
    x = x.astype(np.float32)
    for n in (0, 1, 5, x.size // 3, 2 * x.size):
        kept = jax.jit(selection.keep_top_of_all)(x, n)
        np.testing.assert_array_equal(kept.reshape(1, -1), np.where(oracle(x.reshape(1, -1), n), x.reshape(1, -1), 0.0))
