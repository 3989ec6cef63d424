"""Logistic regression against Newton's method in float64, and accuracies against their definitions."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from saejax.evaluation import logistic


def newton(x, target, weight, ridge, steps=50):
    """(w, b) of raw columns: the same objective, one problem, in float64."""
    mean, std = x.mean(0), x.std(0)
    std = np.where(std > 1e-6, std, 1.0)
    z = np.concatenate([(x - mean) / std, np.ones((len(x), 1))], 1)
    shrink = np.full(z.shape[1], ridge)
    shrink[-1] = 1e-6
    w = np.zeros(z.shape[1])
    for _ in range(steps):
        p = 1 / (1 + np.exp(-z @ w))
        gradient = z.T @ (weight * (p - target)) + shrink * w
        hessian = (z * (weight * p * (1 - p))[:, None]).T @ z + np.diag(shrink)
        w = w - np.linalg.solve(hessian, gradient)
    assert np.abs(gradient).max() < 1e-10
    return w[:-1] / std, w[-1] - np.sum(w[:-1] / std * mean)


def problems(x, rng, n=3):
    target = np.stack([x @ rng.normal(size=x.shape[1]) + rng.normal(size=len(x)) > t for t in np.linspace(0, 2, n)])
    counted = rng.random(target.shape) < 0.8
    return target, counted, logistic.balanced_weights(target, counted)


def test_agrees_with_newton_on_shared_columns():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 12)) @ rng.normal(size=(12, 12)) * 10 ** rng.uniform(-2, 2, 12) + rng.normal(size=12)
    target, counted, weight = problems((x - x.mean(0)) / x.std(0), rng)
    probe = logistic.fit(jnp.float32(x), jnp.asarray(target), jnp.asarray(weight))
    for p in range(3):
        w, b = newton(x, target[p], np.float64(weight[p]), logistic.RIDGE)
        np.testing.assert_allclose(probe.w_PxK[p] * x.std(0), w * x.std(0), atol=5e-3 * np.abs(w * x.std(0)).max())
        np.testing.assert_allclose(probe.scores(jnp.float32(x))[p], x @ w + b, atol=2e-2)


def test_agrees_with_newton_on_own_sparse_columns():
    """As latents are: mostly 0, one of them always."""
    rng = np.random.default_rng(1)
    x = np.maximum(rng.normal(-1.5, 1.0, size=(3, 500, 4)), 0) * np.array([1.0, 30.0, 0.1, 0.0])
    target = np.stack([(x[p, :, p] > 0) ^ (rng.random(500) < 0.1) for p in range(3)])
    weight = logistic.balanced_weights(target, np.ones_like(target))
    probe = logistic.fit(jnp.float32(x), jnp.asarray(target), jnp.asarray(weight))
    for p in range(3):
        w, b = newton(x[p], target[p], np.float64(weight[p]), logistic.RIDGE)
        np.testing.assert_allclose(probe.scores(jnp.float32(x))[p], x[p] @ w + b, atol=2e-2)
        assert probe.w_PxK[p, 3] == 0


def test_rows_without_weight_change_nothing_but_the_scale():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(300, 5))
    target, _, _ = problems(x, rng, 1)
    counted = np.arange(300)[None] < 200
    weight = logistic.balanced_weights(target, counted)
    assert weight[0, 200:].sum() == 0 and weight.sum() == pytest.approx(1.0) and weight[target].sum() == pytest.approx(0.5)
    flipped = np.where(counted, target, ~target)
    a, b = (logistic.fit(jnp.float32(x), jnp.asarray(t), jnp.asarray(weight)) for t in (target, flipped))
    np.testing.assert_array_equal(a.w_PxK, b.w_PxK)


def test_accuracies_by_their_definitions():
    rng = np.random.default_rng(3)
    score = np.round(rng.normal(size=(4, 60)), 1)  # rounded: ties, and zeros
    target, counted = rng.random((4, 60)) < 0.3, rng.random((4, 60)) < 0.9
    found = logistic.accuracies(score, target, counted)
    for p in range(4):
        positive, negative = score[p][target[p] & counted[p]], score[p][~target[p] & counted[p]]
        above = np.mean([(a > b) + 0.5 * (a == b) for a in positive for b in negative])
        recall, false = np.mean(positive > 0), np.mean(negative > 0)
        precision = recall / (recall + false)
        np.testing.assert_allclose(found["auc"][p], above)
        np.testing.assert_allclose(found["balanced_accuracy"][p], (recall + 1 - false) / 2)
        np.testing.assert_allclose(found["f1"][p], 2 * precision * recall / (precision + recall))


def test_a_probe_that_calls_nothing_has_f1_0_and_auc_a_half():
    found = logistic.accuracies(np.zeros((1, 10)), np.arange(10)[None] < 3, np.ones((1, 10), bool))
    assert found["f1"][0] == 0 and found["auc"][0] == 0.5 and found["balanced_accuracy"][0] == 0.5
