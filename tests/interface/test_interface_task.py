"""`--tasks=interface`: checked before any work, done once, and again where the features have changed."""

from __future__ import annotations

import json

import pytest
import synthetic

import launch

NAMES = ("topk-k4-d32-lr1e-3-seed0", "topk-k8-d32-lr1e-3-seed0")


@pytest.fixture
def workdir(tmp_path):
    """A sweep of two autoencoders that only seem to be there, the task reads none: one has features."""
    for name in NAMES:
        (tmp_path / "run" / "saes" / name).mkdir(parents=True)
        (tmp_path / "run" / "saes" / name / "cfg.json").write_text("{}")
    synthetic.write(tmp_path / "run" / "features" / NAMES[1], 32)
    return tmp_path / "run"


def run(workdir, *more: str) -> int:
    flags = [f"--workdir={workdir}", "--compilation_cache=", "--architecture=topk", "--k=4,8", "--d_sae=32"]
    return launch.main(["launch.py", "--tasks=interface", *flags, *more])


def sweep(workdir) -> dict:
    text = (workdir / "interface" / "data" / "sweep.js").read_text()
    return json.loads(text[text.index(",") + 1 : -3])


def test_it_is_made_once_and_again_where_features_changed(workdir, capsys):
    assert run(workdir) == 0
    members = sweep(workdir)["members"]
    assert [(m["name"], m["folder"]) for m in members] == [(NAMES[0], None), (NAMES[1], NAMES[1])]
    facts = json.loads((workdir / "run.json").read_text())["tasks"]["interface"]
    assert facts["largest_file_bytes"] < facts["bytes"] < 1_000_000
    assert run(workdir) == 0
    assert "interface: complete" in capsys.readouterr().err
    synthetic.write(workdir / "features" / NAMES[0], 32)
    assert run(workdir) == 0
    assert f"features of {NAMES[0]}" in capsys.readouterr().err
    assert all(m["folder"] for m in sweep(workdir)["members"])


def test_without_features_it_says_what_to_do(workdir, capsys):
    for path in (workdir / "features" / NAMES[1]).iterdir():
        path.unlink()
    assert run(workdir) == launch.BAD_INPUT_STATUS
    assert "add features to --tasks" in capsys.readouterr().err
    assert not (workdir / "interface").exists()
