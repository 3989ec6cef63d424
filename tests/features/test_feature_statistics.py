"""What is said of activations, against NumPy on dense arrays."""

from __future__ import annotations

import numpy as np
import pytest

from saejax.features import correlation, statistics
from saejax.features.correlation import NeuronSums
from tests.features.conftest import activity_of, random_latents, text_of


def test_activity_gives_back_what_was_written(tmp_path):
    f_NxF = random_latents(100, 9)
    f_NxF[:, 4] = 0
    activity = activity_of(f_NxF, tmp_path / "activity")
    assert len(list((tmp_path / "activity").glob("*-rows.npy"))) > 2 and activity.n_entries == np.count_nonzero(f_NxF)
    for latent in range(9):
        rows, values = activity.of_latent(latent)
        np.testing.assert_array_equal(rows, np.flatnonzero(f_NxF[:, latent]))
        np.testing.assert_array_equal(values, f_NxF[rows, latent])
    chosen_N = np.arange(100) % 3 == 0
    np.testing.assert_array_equal(activity.of_rows(chosen_N).toarray(), f_NxF * chosen_N[:, None])


def test_densities_histograms_and_intervals():
    f_N = random_latents(1000, 1)[:, 0]
    values, Q = f_N[f_N > 0], 5
    found = statistics.statistics(values, 1000, Q)
    assert found.density == (f_N > 0).mean() and found.n_active == len(values)
    assert found.max_activation == f_N.max() and found.mean_activation == pytest.approx(values.mean())
    edges = np.linspace(0, f_N.max(), statistics.N_BINS + 1)
    brute = [int(((values >= a) & ((values < b) | (b == edges[-1]))).sum()) for a, b in zip(edges, edges[1:])]
    assert found.histogram_counts == brute and sum(brute) == len(values)
    np.testing.assert_allclose(found.quantiles, f_N.max() * np.arange(Q, -1, -1) / Q, rtol=1e-6)
    shares = [np.mean((values > found.quantiles[q]) & (values <= found.quantiles[q - 1])) for q in range(1, Q + 1)]
    np.testing.assert_allclose(found.interval_shares, shares)
    intervals = statistics.intervals_of(values, Q)
    assert intervals[values.argmax()] == 1 and intervals[values.argmin()] == Q


def test_a_latent_that_never_fires():
    assert statistics.statistics(np.zeros(0, np.float32), 10, 4) == (0.0, 0, 0.0, 0.0, [], [], [], [])


def test_one_value_is_its_whole_range():
    found = statistics.statistics(np.float32([0.25, 0.25]), 10, 4)
    assert found.interval_shares == [1.0, 0.0, 0.0, 0.0] and sum(found.histogram_counts) == 2


def correlations(f_NxF, a_NxG):
    """Pearson r [F, G] in float64, 0 where one does not vary."""
    f, a = (x - x.mean(0) for x in (f_NxF.astype(np.float64), a_NxG.astype(np.float64)))
    spread = np.outer(np.sqrt((f**2).sum(0)), np.sqrt((a**2).sum(0)))
    return np.divide(f.T @ a, spread, out=np.zeros_like(spread), where=spread > 0)


def strongest(r_FxG, n):
    index = np.argsort(-r_FxG, axis=1, kind="stable")[:, :n]
    return index, np.take_along_axis(r_FxG, index, axis=1)


@pytest.mark.parametrize("block", [1, 64, 2**23])
def test_correlated_latents(tmp_path, monkeypatch, block):
    text = text_of()
    f_NxF = random_latents(text.keep_N.size, 12) * text.keep_N[:, None]
    f_NxF[:, 3] = 2 * f_NxF[:, 7]
    f_NxF[:, 5] = 0
    monkeypatch.setattr(correlation, "_BLOCK_FLOATS", block)
    found, n_rows = correlation.latents(activity_of(f_NxF, tmp_path / "a"), text.keep_N, 16, 4)
    r_FxF = correlations(f_NxF[text.keep_N], f_NxF[text.keep_N])
    np.fill_diagonal(r_FxF, -np.inf)
    r = strongest(r_FxF, 4)[1]
    assert n_rows == text.n_rows and found.index[3, 0] == 7 and found.r[3, 0] == pytest.approx(1.0)
    np.testing.assert_allclose(found.r, r, atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(r_FxF, found.index, axis=1), r, atol=1e-5)


def test_too_many_products_are_taken_over_fewer_windows(tmp_path, monkeypatch):
    text = text_of(n_windows=40)
    f_NxF = random_latents(text.keep_N.size, 12) * text.keep_N[:, None]
    monkeypatch.setattr(correlation, "_PRODUCTS", 1000)
    found, n_rows = correlation.latents(activity_of(f_NxF, tmp_path / "a"), text.keep_N, 16, 3)
    entries = np.count_nonzero(f_NxF)
    every = int(np.ceil(entries**2 / text.n_rows / 1000))
    chosen_N = text.keep_N & (np.arange(len(text.keep_N)) // 16 % every == 0)
    assert every > 1 and n_rows == chosen_N.sum()
    r_FxF = correlations(f_NxF[chosen_N], f_NxF[chosen_N])
    np.fill_diagonal(r_FxF, -np.inf)
    np.testing.assert_allclose(found.r, strongest(r_FxF, 3)[1], atol=1e-5)


def test_correlated_neurons():
    from scipy import sparse

    text, rng = text_of(), np.random.default_rng(1)
    f_NxF = random_latents(text.keep_N.size, 12) * text.keep_N[:, None]
    a_NxI = (rng.normal(size=(text.keep_N.size, 30)) + 3).astype(np.float32)
    a_NxI[:, 17] += 4 * f_NxF[:, 2]
    sums = NeuronSums.zeros(12, 30)
    for start in range(0, len(f_NxF), 50):
        part = slice(start, start + 50)
        sums = sums.plus(sparse.csr_array(f_NxF[part]), a_NxI[part], text.keep_N[part])
    found = sums.strongest(5)
    index, r = strongest(correlations(f_NxF[text.keep_N], a_NxI[text.keep_N]), 5)
    assert sums.n_rows == text.n_rows and found.index[2, 0] == 17
    np.testing.assert_array_equal(found.index, index)
    np.testing.assert_allclose(found.r, r, atol=1e-4)
