"""Shared by all tests: the peers' numbers, and a comparison that says by how much it failed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

TESTDATA = Path(__file__).parent / "testdata"


@pytest.fixture
def testdata() -> Path:
    return TESTDATA


@pytest.fixture
def reference():
    """Loads a reference file by its name."""
    return lambda name: dict(np.load(TESTDATA / f"{name}.npz", allow_pickle=False))


@pytest.fixture
def close():
    """Asserts max |a − b| ≤ tolerance · max |b|."""

    def check(actual, expected, tolerance: float, what: str) -> None:
        actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
        assert actual.shape == expected.shape, f"{what}: shape {actual.shape}, expected {expected.shape}"
        error = np.abs(actual - expected).max() / max(np.abs(expected).max(), 1e-30)
        assert error <= tolerance, f"{what}: off by {error:.2e} of the largest value, allowed {tolerance:.0e}"

    return check
