"""Shared by all tests: the peers' numbers, a comparison that says by how much it failed, and one whole small run."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path

import numpy as np
import pytest

import launch

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


SWEEP = {
    "relu-l1_1-d256-lr1e-3-seed0": "relu",
    "relu-l1_3-d256-lr1e-3-seed0": "relu",
    "topk-k4-d256-lr1e-3-seed0": "topk",
    "topk-k8-d256-lr1e-3-seed0": "topk",
    "tied-l1_1-d256-lr1e-3-seed0": "tied",
    "tied-l1_3-d256-lr1e-3-seed0": "tied",
}


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    """A .jsonl of some documentation strings of the standard library."""
    path = tmp_path_factory.mktemp("text") / "docs.jsonl"
    nodes = (ast.ClassDef, ast.FunctionDef, ast.Module)
    with open(path, "w") as file:
        for module in sorted(Path(os.__file__).parent.glob("[a-t]*.py")):
            for node in ast.walk(ast.parse(module.read_bytes())):
                text = ast.get_docstring(node) if isinstance(node, nodes) else None
                if text:
                    file.write(json.dumps({"text": text}) + "\n")
    return path


def flags_of(corpus: Path, workdir: Path, *more: str) -> list[str]:
    return [
        "launch.py",
        f"--dataset={corpus}",
        f"--workdir={workdir}",
        f"--compilation_cache={corpus.parent / 'compiled'}",
        "--store_tokens=30000",
        "--eval_tokens=3000",
        "--training_tokens=40000",
        "--batch_size=500",
        "--context_size=64",
        "--architecture=relu,topk,tied",
        "--l1_coefficient=1,3",
        "--k=4,8",
        "--d_sae=256",
        "--log_every_steps=10",
        "--checkpoint_every_steps=20",
        *more,
    ]


@pytest.fixture(scope="session")
def finished(corpus, tmp_path_factory) -> Path:
    """The work directory of a whole run."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    assert launch.main(flags_of(corpus, workdir)) == 0
    return workdir
