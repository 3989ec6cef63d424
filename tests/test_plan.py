"""`--plan`: a forecast of every task, and nothing done."""

from __future__ import annotations

import pytest

import launch
from saejax.planning import harvesting, measure
from saejax.tasks import plan_extract, plan_finetune, plan_pretrain
from tests.conftest import flags_of

ALL = ("pretrain", "extract", "train", "finetune", "evaluate", "features")
SIZES = ("--lm_n_layer=3", "--lm_n_embd=32", "--lm_n_head=2", "--lm_tokens=65536", "--lm_warm_up_steps=2")
SWEEP = ("--architecture=topk", "--l1_coefficient=", "--d_sae=64", "--probe_tokens=0", "--lm_vocab_size=400")


@pytest.fixture
def hasty(monkeypatch):
    """Shorter measurements: what is tested is not what they say."""
    monkeypatch.setattr(plan_extract, "TEXT_SECONDS", 0.2)
    monkeypatch.setattr(plan_extract, "FORWARD_SECONDS", 0.2)
    monkeypatch.setattr(plan_finetune, "STEP_SECONDS", 0.2)
    monkeypatch.setattr(plan_pretrain, "STEP_SECONDS", 0.2)
    monkeypatch.setattr(plan_pretrain, "DOCUMENTS", 200)
    monkeypatch.setattr(harvesting, "STORE_BYTES", 2**20)
    monkeypatch.setattr(measure, "WRITTEN_BYTES", 2**20)


def lines_of(output: str) -> dict[str, list[str]]:
    """{first word of a table's row: its cells}."""
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in output.splitlines() if line.startswith("│")]
    return {row[0]: row for row in rows if row[0]}


def test_every_task_is_foretold_and_nothing_is_done(corpus, tmp_path, capsys, hasty):
    arguments = flags_of(corpus, tmp_path / "run", f"--tasks={','.join(ALL)}", "--model=lm", *SIZES, *SWEEP, "--plan")
    assert launch.main(arguments) == 0
    assert list(tmp_path.iterdir()) == []
    output = capsys.readouterr().out
    rows = lines_of(output)
    assert rows.keys() == {*ALL, "all"}
    for name, (_, seconds, memory, disk, operations, _) in rows.items():
        assert float(seconds.split()[0]) > 0 and "B" in memory and disk != "0 B" and float(operations) > 0, name
    said = ("step of topk-d64: ", "arrays [B, F] a member", "is cheaper: kept, ", "this machine: ")
    assert all(words in output for words in said), output


def test_what_is_complete_takes_nothing_and_bad_flags_are_refused(corpus, finished, tmp_path, capsys, hasty):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    assert launch.main(flags_of(corpus, finished, "--plan")) == 0
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before
    rows = lines_of(capsys.readouterr().out)
    assert all(rows[task][1] == "0.0 s" for task in ("extract", "train", "evaluate"))
    assert launch.main(flags_of(corpus, finished, "--plan", "--k=4,16")) == 2
    assert launch.main(flags_of(corpus, tmp_path / "run", "--plan", "--hook_name=blocks.9.hook_resid_post")) == 2
    assert capsys.readouterr().err.count("\n") == 2 and not (tmp_path / "run").exists()
