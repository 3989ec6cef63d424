"""Sparse probing and absorption where it is known which latent stands for which label."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from saejax.evaluation import absorption, logistic, probing
from saejax.sae.inference import InferenceSAE

VALUES, WIDTH, LATENTS, ROWS = 4, 32, 40, 6000


@pytest.fixture(scope="module")
def planted():
    """Rows x: a direction for the value, one for its particular kind, if any, some others, and noise; all orthonormal.

    Latents 0 … 3 fire for the values, 4 … 13 for directions that have nothing to do with the labels. A quarter of value 0 is of
    one of eight particular kinds. In "absorbing", these leave latent 0 silent, and latents 30 … 37 stand for a kind and
    direction 0 together; in "losing" they stand for the kind alone.
    """
    rng = np.random.default_rng(0)
    direction, _ = np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))
    kinds = direction[10:18]
    value = rng.integers(0, VALUES, ROWS)
    particular = (value == 0) & (rng.random(ROWS) < 0.25)
    other = rng.random((ROWS, 10)) < 0.3
    x = 4.0 * direction[value] + 3.0 * particular[:, None] * kinds[rng.integers(0, 8, ROWS)]
    x = np.float32(x + other @ direction[20:30] * 2.0 + 0.1 * rng.normal(size=(ROWS, WIDTH)))
    document = np.arange(ROWS) // 20
    given = probing.problems({"kind": ([f"v{i}" for i in range(VALUES)], value)}, document)

    W_dec, W_enc, b_enc = np.zeros((LATENTS, WIDTH)), np.zeros((WIDTH, LATENTS)), np.full(LATENTS, -1.0)
    W_dec[:VALUES], W_enc[:, :VALUES] = direction[:VALUES], direction[:VALUES].T
    W_dec[VALUES : VALUES + 10], W_enc[:, VALUES : VALUES + 10] = direction[20:30], direction[20:30].T
    made = {"plain": (W_enc.copy(), W_dec.copy())}
    W_enc[:, 0] = direction[0] - 4.0 * kinds.sum(0)
    W_enc[:, 30:38] = 2.0 * kinds.T  # 2 · 3 − 1 = 5, the norm of 4 and 3 together
    W_dec[30:38] = (4 * direction[0] + 3 * kinds) / 5
    made["absorbing"] = (W_enc.copy(), W_dec.copy())
    W_dec[30:38] = kinds
    made["losing"] = (W_enc, W_dec)
    saes = {
        name: InferenceSAE(*map(jnp.float32, (encoder, b_enc, decoder, np.zeros(WIDTH))))
        for name, (encoder, decoder) in made.items()
    }
    return x, given, value, particular, saes


def test_the_planted_latents_are_found_and_tell_all(planted):
    x, given, value, _, saes = planted
    chosen = probing.choose(saes["plain"], x, given)
    np.testing.assert_array_equal(chosen.index_PxK[:, 0], np.arange(VALUES))
    f = np.asarray(saes["plain"].encode(jnp.asarray(x)))
    np.testing.assert_allclose(chosen.values_PxNxK[2], f[:, chosen.index_PxK[2]], rtol=1e-5)
    for metric in ("auc", "balanced_accuracy", "f1"):
        np.testing.assert_allclose(chosen.test[0][metric], 1.0)


def test_latents_are_ranked_by_difference_of_means_on_the_training_half(planted):
    x, given, _, _, saes = planted
    f = np.asarray(saes["absorbing"].encode(jnp.asarray(x)), np.float64)
    chosen = probing.choose(saes["absorbing"], x, given)
    for p in range(VALUES):
        positive, negative = given.target_PxN[p] & given.train_N, ~given.target_PxN[p] & given.train_N
        difference = f[positive].mean(0) - f[negative].mean(0)
        np.testing.assert_allclose(difference[chosen.index_PxK[p]], -np.sort(-difference)[:5], rtol=1e-4, atol=1e-6)


def test_a_dense_probe_knows_what_no_single_dimension_does():
    """A sum of 16 dimensions above 0; one dimension alone has AUC ½ + asin(1/4) / π."""
    rng = np.random.default_rng(0)
    x = np.float32(rng.normal(size=(8000, 16)))
    given = probing.problems({"kind": (["low", "high"], (x.sum(1) > 0).astype(int))}, np.arange(8000) // 10)
    _, dense = probing.dense(x, given)
    single = probing.best_dimension(x, given)
    assert dense["auc"].min() > 0.995 and dense["f1"].min() > 0.96
    np.testing.assert_allclose(single["auc"], 0.5 + 2 * np.arcsin(0.25) / np.pi / 2, atol=0.06)


def test_the_best_dimension_is_found_whatever_its_scale():
    rng = np.random.default_rng(0)
    value = rng.integers(0, 2, 2000)
    x = np.float32(rng.normal(size=(2000, 6)) * np.array([1, 100, 1, 1, 1, 1]))
    x[:, 4] -= 3.0 * value
    given = probing.problems({"kind": (["a", "b"], value)}, np.arange(2000) // 10)
    assert probing.best_dimension(x, given)["auc"].min() > 0.95


def test_blocks_of_rows_change_nothing(planted, monkeypatch):
    x, given, _, _, saes = planted
    whole = probing.choose(saes["absorbing"], x, given)
    monkeypatch.setattr(probing, "_ROWS_AT_ONCE", 700)
    cut = probing.choose(saes["absorbing"], x, given)
    np.testing.assert_array_equal(cut.index_PxK[:, 0], whole.index_PxK[:, 0])
    np.testing.assert_allclose(cut.test[0]["auc"], whole.test[0]["auc"], atol=1e-6)


def test_documents_are_split_and_rare_values_left_out():
    rng = np.random.default_rng(0)
    document = rng.integers(0, 50, 3000)
    value = np.where(rng.random(3000) < 0.02, 2, rng.integers(0, 2, 3000))
    value[:500] = -1
    labels = {"kind": (["a", "b", "rare"], value), "one value": (["same"], np.zeros(3000, int))}
    given = probing.problems(labels, document)
    assert given.names == [("kind", "a"), ("kind", "b")]
    assert not set(document[given.train_N]) & set(document[~given.train_N])
    assert len(set(document[given.train_N])) == 25
    np.testing.assert_array_equal(given.counted_PxN[0], value >= 0)
    assert given.by_kind([0.5, 1.0]) == {"kind": 0.75, "mean": 0.75}
    assert given.by_kind([np.nan, 1.0])["mean"] == 1.0 and given.by_kind([np.nan, np.nan]) == {}


def rates(planted, name):
    x, given, _, _, saes = planted
    probe, _ = probing.dense(x, given)
    chosen = probing.choose(saes[name], x, given)
    return absorption.rates(saes[name], x, x, x.mean(0), given, chosen, probe), probe


def test_absorption_is_found_where_it_was_planted(planted):
    x, given, value, particular, _ = planted
    found, probe = rates(planted, "absorbing")
    called = np.asarray(probe.scores(jnp.asarray(x)))[0] > 0
    tokens = (value == 0) & ~given.train_N & called
    np.testing.assert_allclose(found[0], np.mean(particular[tokens]), atol=0.01)
    assert 0.2 < found[0] < 0.3
    np.testing.assert_array_equal(found[1:], 0.0)


@pytest.mark.parametrize("name", ["plain", "losing"])
def test_no_absorption_where_latents_fire_or_the_feature_is_lost(planted, name):
    found, _ = rates(planted, name)
    np.testing.assert_array_equal(found, 0.0)


def test_split_features_are_all_main_latents():
    f1 = np.array([[0.5, 0.9, 0.5], [0.6, 0.91, 0.52], [0.7, 0.99, 0.9], [0.71, 0.99, 0.9]])
    np.testing.assert_array_equal(absorption.n_main(f1), [3, 1, 1])


def test_a_probe_that_finds_nothing_has_no_rate(planted):
    x, given, _, _, saes = planted
    chosen = probing.choose(saes["plain"], x, given)
    never = logistic.Probe(jnp.zeros((VALUES, WIDTH)), jnp.full(VALUES, -1.0))
    assert np.isnan(absorption.rates(saes["plain"], x, x, x.mean(0), given, chosen, never)).all()
