"""The geometric median: hand-made cases, and that no nearby point has a smaller mean distance."""

from __future__ import annotations

import numpy as np

from saejax.activations.statistics import geometric_median


def test_of_three_far_from_one_line_it_is_where_angles_are_equal():
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3) / 2]])
    np.testing.assert_allclose(geometric_median(corners), corners.mean(0), atol=1e-5)


def test_an_outlier_moves_the_mean_and_not_the_median():
    rows = np.vstack([np.random.default_rng(0).normal(size=(500, 4)), 1e4 * np.ones((5, 4))])
    median = geometric_median(rows)
    assert np.linalg.norm(rows.mean(0)) > 50 and np.linalg.norm(median) < 0.3
    distance = lambda point: np.linalg.norm(rows - point, axis=1).mean()  # noqa: E731
    for direction in np.random.default_rng(1).normal(size=(20, 4)):
        assert distance(median) <= distance(median + 1e-2 * direction) + 1e-9


def test_a_row_that_is_the_median_does_no_harm():
    rows = np.array([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [3.0, 1.0]])
    np.testing.assert_allclose(geometric_median(rows), 0.0, atol=1e-3)
