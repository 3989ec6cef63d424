"""Dictionary metrics against sparse_coding's own numbers, hand-made dictionaries and a graph search."""

from __future__ import annotations

import numpy as np
import pytest

from saejax.evaluation import dictionaries


@pytest.fixture(params=[dictionaries._PRODUCTS_AT_ONCE, 500])
def blocks(request, monkeypatch):
    """All at once, and in blocks of a few atoms."""
    monkeypatch.setattr(dictionaries, "_PRODUCTS_AT_ONCE", request.param)


def test_mmcs_agrees_with_sparse_coding(reference, blocks):
    data = reference("metrics")
    A, B = data["dict_A"], data["dict_B"]
    of_a, of_b = dictionaries.max_cosines(A, B)
    peer = {name: data[f"metrics/sparse_coding/{name}"] for name in ("mmcs_A_B", "mmcs_B_A", "mmcs_from_list")}
    np.testing.assert_allclose(dictionaries.mmcs(A, B), peer["mmcs_A_B"], rtol=1e-5)
    np.testing.assert_allclose(dictionaries.mmcs(B, A), peer["mmcs_B_A"], rtol=1e-5)
    np.testing.assert_allclose(of_b, data["metrics/sparse_coding/mcs_duplicates_A_B"], rtol=1e-4)
    np.testing.assert_allclose(of_a, data["metrics/sparse_coding/mcs_duplicates_B_A"], rtol=1e-4)
    found = dictionaries.mmcs_matrix({"A": A, "B": B})
    assert found["members"] == ["A", "B"]
    np.testing.assert_allclose(found["matrix"], [[1, peer["mmcs_A_B"]], [peer["mmcs_B_A"], 1]], rtol=1e-5)


def test_capacity_agrees_with_sparse_coding(reference, blocks):
    data = reference("metrics")
    for key, W in (("A", data["dict_A"]), ("sae", data["params/W_dec"])):
        peer = data[f"metrics/sparse_coding/capacity_per_feature_{key}"]
        np.testing.assert_allclose(dictionaries.capacity(W), peer, rtol=1e-4)


def test_capacity_of_copies_and_of_orthogonal_atoms():
    W = np.array([[2.0, 0, 0], [5.0, 0, 0], [0, 1, 0], [0, 0, 0]])
    np.testing.assert_allclose(dictionaries.capacity(W), [0.5, 0.5, 1.0, 0.0], atol=1e-6)


def test_nearest_agrees_with_sorting(blocks):
    W = np.random.default_rng(0).normal(size=(61, 7))
    unit = W / np.linalg.norm(W, axis=1, keepdims=True)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -np.inf)
    found = dictionaries.nearest(W, 4)
    np.testing.assert_array_equal(found.index, np.argsort(-cosine, axis=1)[:, :4])
    np.testing.assert_allclose(found.cosine, -np.sort(-cosine, axis=1)[:, :4], atol=1e-5)
    assert dictionaries.nearest(W[:3], 10).index.shape == (3, 2)
    about = dictionaries.describe(W)
    np.testing.assert_allclose(about["max_cosine_median"], np.median(cosine.max(1)), rtol=1e-5)
    assert about["near_duplicates"] == (cosine.max(1) > 0.9).sum()


def clusters_by_search(cosine, threshold):
    left, count = set(range(len(cosine))), 0
    while left:
        count, edge = count + 1, [left.pop()]
        while edge:
            near = {j for j in left if cosine[edge[-1], j] > threshold}
            edge.pop()
            left -= near
            edge += near
    return count


@pytest.mark.parametrize("threshold", [0.3, 0.6, 0.8, 0.9])
def test_unique_features_are_the_clusters(blocks, threshold):
    W = np.random.default_rng(1).normal(size=(90, 4))
    unit = W / np.linalg.norm(W, axis=1, keepdims=True)
    assert dictionaries.n_unique(W, threshold) == clusters_by_search(unit @ unit.T, threshold)


def test_a_chain_of_neighbours_is_one_cluster(blocks):
    """Each atom is close to the next alone; in an order that joins pieces late."""
    angle = np.random.default_rng(0).permutation(60) * 0.1
    W = np.stack([np.cos(angle), np.sin(angle)], 1) * np.arange(1, 61)[:, None]
    assert dictionaries.n_unique(W, 0.99) == 1
    assert dictionaries.n_unique(W, 0.999) == 60


def test_matched_features_are_counted_whatever_their_norm():
    P = np.eye(4)
    Q = np.array([[3.0, 0, 0, 0], [0, 0, 0.1, 0.01], [1, 1, 0, 0]])
    assert dictionaries.n_matched(P, Q) == 2 and dictionaries.n_matched(Q, P) == 2
    matrix = dictionaries.mmcs_matrix({"P": P, "Q": Q})
    np.testing.assert_allclose(matrix["matched"], [[1, 2 / 3], [2 / 4, 1]])
