"""Intervals against a loop over resamples, and their coverage where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from saejax.evaluation import intervals
from saejax.evaluation.splice import Spliced

SITE = "blocks.0.hook_resid_post"
MEMBERS = {"a": Spliced(SITE, SITE, None), "b": Spliced(SITE, SITE, None)}


def sums_of(rng, n_documents, width=3):
    """Sums of random rows and losses: {name: {sum: [M, ...]}}."""
    n = rng.integers(1, 40, n_documents)
    document = np.repeat(np.arange(n_documents), n)

    def per_document(values):
        return np.stack([values[document == d].sum(0) for d in range(n_documents)])

    y = rng.normal(size=(n.sum(), width)) + rng.normal(size=(n_documents, width))[document]
    found = {
        "clean": {"loss": per_document(rng.gamma(3.0, size=n.sum())), "n_losses": n * 1.0, "n_positions": n * 1.0},
        SITE: {
            "loss": per_document(rng.gamma(9.0, size=n.sum())),
            "kl": n * 1.0,
            "n": n * 1.0,
            "centred": per_document(y),
            "centred_squares": per_document((y**2).sum(1)),
        },
    }
    for name in MEMBERS:
        y_hat = y + 0.3 * rng.normal(size=y.shape)
        norms = np.linalg.norm(y, axis=1), np.linalg.norm(y_hat, axis=1)
        dot = (y * y_hat).sum(1)
        rows = {
            "l0": rng.integers(0, 20, n.sum()) * 1.0,
            "l1": rng.gamma(2.0, size=n.sum()),
            "squared_error": ((y - y_hat) ** 2).sum(1),
            "cosine": dot / norms[0] / norms[1],
            "dot": dot,
            "squares_hat": norms[1] ** 2,
            "norm_ratio": norms[1] / norms[0],
            "loss": rng.gamma(4.0, size=n.sum()),
            "kl": rng.gamma(1.0, size=n.sum()),
        }
        found[name] = {key: per_document(values) for key, values in rows.items()} | {"fired_F": np.ones(5)}
    return found, y, document


def test_agrees_with_a_loop_over_resamples():
    """Each resample as an explicit list of documents, each metric from its definition."""
    sums, y, document = sums_of(np.random.default_rng(0), 12)
    found = intervals.bootstrap(sums, MEMBERS, n_samples=50, seed=3)
    rng, expected = np.random.default_rng(3), {}
    for _ in range(50):
        counts = rng.multinomial(12, np.full(12, 1 / 12))
        drawn = [d for d in range(12) for _ in range(counts[d])]
        rows = np.concatenate([y[document == d] for d in drawn])
        variance = ((rows - rows.mean(0)) ** 2).sum()
        clean, zero, own = sums["clean"], sums[SITE], sums["b"]
        ce = [sum(s["loss"][d] for d in drawn) / sum(clean["n_losses"][d] for d in drawn) for s in (clean, own, zero)]
        n = sum(zero["n"][d] for d in drawn)
        values = {
            "fvu": sum(own["squared_error"][d] for d in drawn) / variance,
            "explained_variance": 1 - sum(own["squared_error"][d] for d in drawn) / variance,
            "mse": sum(own["squared_error"][d] for d in drawn) / n,
            "l0": sum(own["l0"][d] for d in drawn) / n,
            "cosine_similarity": sum(own["cosine"][d] for d in drawn) / n,
            "ce_sae": ce[1],
            "ce_recovered": (ce[2] - ce[1]) / (ce[2] - ce[0]),
            "kl_sae": sum(own["kl"][d] for d in drawn) / n,
        }
        for name, value in values.items():
            expected.setdefault(name, []).append(value)
    assert expected.keys() <= found["b"].keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found["b"][name], np.percentile(values, [2.5, 97.5]), rtol=1e-9, err_msg=name)


def test_blocks_of_resamples_change_nothing(monkeypatch):
    sums, _, _ = sums_of(np.random.default_rng(1), 15)
    whole = intervals.bootstrap(sums, MEMBERS, n_samples=40)
    monkeypatch.setattr(intervals, "_WEIGHTS_AT_ONCE", 15 * 7)
    for name, own in intervals.bootstrap(sums, MEMBERS, n_samples=40).items():
        for metric, interval in own.items():
            np.testing.assert_allclose(interval, whole[name][metric], rtol=1e-12)


def test_coverage_is_near_95_percent():
    """300 experiments of 40 documents each, whose sizes and means vary: how often is the true ratio inside?"""
    rng, inside, n_experiments = np.random.default_rng(0), 0, 300
    for _ in range(n_experiments):
        n = rng.integers(5, 60, 40).astype(float)
        level = rng.gamma(4.0, 0.5, 40)  # a document's own mean; over documents 2
        squared_error = n * level + np.sqrt(n) * rng.normal(size=40) * 0.3
        base = {"loss": n * 3.0, "n_losses": n, "n_positions": n}
        target = {"loss": n * 9.0, "kl": n, "n": n, "centred": np.zeros((40, 1)), "centred_squares": n}
        own = dict.fromkeys(("l0", "l1", "cosine", "dot", "squares_hat", "norm_ratio", "loss", "kl"), n)
        sums = {"clean": base, SITE: target, "a": own | {"squared_error": squared_error}}
        low, high = intervals.bootstrap(sums, {"a": MEMBERS["a"]}, n_samples=300, seed=int(rng.integers(2**31)))["a"]["mse"]
        inside += low <= 2.0 <= high
    assert 0.89 <= inside / n_experiments <= 0.98


def test_too_few_documents_have_no_interval():
    sums, _, _ = sums_of(np.random.default_rng(0), intervals.FEWEST_DOCUMENTS - 1)
    assert intervals.bootstrap(sums, MEMBERS, n_samples=10) == {}
    sums, _, _ = sums_of(np.random.default_rng(0), intervals.FEWEST_DOCUMENTS)
    assert intervals.bootstrap(sums, MEMBERS, n_samples=0) == {}
    assert intervals.bootstrap(sums, MEMBERS, n_samples=10).keys() == MEMBERS.keys()


def test_documents_of_positions():
    starts = np.array([0, 3, 4, 10, 99])
    expected = [[0, 0, 0, 1], [2, 2, 2, 2], [2, 2, 3, 3]]
    np.testing.assert_array_equal(intervals.document_of_positions(starts, (3, 4)), expected)


def test_half_width():
    assert intervals.half_width([1.0, 4.0]) == pytest.approx(1.5) and intervals.half_width(None) is None
