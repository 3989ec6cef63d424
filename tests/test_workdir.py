"""The work directory: killed runs end with the same bits, what is complete is skipped, what cannot be used is named."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import launch
from saejax.workdir import Workdir
from tests.conftest import SWEEP, flags_of

ROOT = Path(__file__).parent.parent


def test_complete_tasks_are_skipped_and_the_flagfile_repeats_the_run(finished, capsys):
    rewritten = ("flags.txt", ".lock")
    before = {p: p.stat().st_mtime_ns for p in finished.rglob("*") if p.is_file() and p.name not in rewritten}
    assert launch.main(["launch.py", f"--flagfile={finished / 'flags.txt'}"]) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert capsys.readouterr().err.count("complete in") == 3


def largest(folder: Path, name: str) -> int:
    """The size of the largest file or folder of that name; the run may move things meanwhile."""
    sizes = [0]
    for parent, folders, names in os.walk(folder):
        with contextlib.suppress(FileNotFoundError):
            sizes += [os.path.getsize(os.path.join(parent, found)) for found in (*folders, *names) if found == name]
    return max(sizes)


@pytest.mark.parametrize("kill_at", [("tokens", 1), ("progress.json", 1), ("metrics.jsonl", 2000), ("metrics.jsonl", 9000)])
def test_a_killed_run_ends_with_the_same_bits(kill_at, corpus, finished, tmp_path):
    """SIGKILL once a file has reached a size, in each phase; then the same command again."""
    name, size = kill_at
    workdir = tmp_path / "run"
    arguments = flags_of(corpus, workdir, "--tasks=extract,train")
    process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if largest(workdir, name) >= size:
            break
        time.sleep(0.002)
    assert process.poll() is None, "the run ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert launch.main(arguments) == 0
    for member in SWEEP:
        ours, theirs = (load_file(d / "saes" / member / "sae_weights.safetensors") for d in (workdir, finished))
        for tensor in theirs:
            np.testing.assert_array_equal(ours[tensor], theirs[tensor], err_msg=f"{member} {tensor}")
    assert (workdir / "metrics.jsonl").read_text() == (finished / "metrics.jsonl").read_text()


def test_a_work_directory_made_with_other_settings_is_refused(corpus, finished, capsys):
    assert launch.main(flags_of(corpus, finished, "--k=4,16")) == 2
    error = capsys.readouterr().err
    assert "--k=4,16" in error and "--k=4,8" in error and "--workdir" in error and error.count("\n") == 1
    assert launch.main(flags_of(corpus, finished, "--noresume")) == 2


def test_what_an_earlier_task_made_with_other_settings_is_not_used(corpus, finished, capsys):
    for task, flag in (
        ("train", "--store_tokens=99999"),
        ("evaluate", "--training_tokens=99999"),
        ("evaluate", "--dtype=bfloat16"),
    ):
        assert launch.main(flags_of(corpus, finished, f"--tasks={task}", flag)) == 2
        assert flag in capsys.readouterr().err


def test_what_is_gone_is_made_again_to_the_same_bits(corpus, finished, tmp_path, capsys):
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    shutil.rmtree(workdir / "saes")
    (workdir / "evaluation.json").unlink()
    assert launch.main(flags_of(corpus, workdir)) == 0
    assert capsys.readouterr().err.count("is missing; doing it again") == 2
    for name in SWEEP:
        file = Path("saes") / name / "sae_weights.safetensors"
        assert (workdir / file).read_bytes() == (finished / file).read_bytes()
    assert (workdir / "evaluation.json").read_text() == (finished / "evaluation.json").read_text()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


BROKEN = {
    "run.json": (lambda w: truncate(w / "run.json"), "run.json"),
    "settings": (lambda w: (w / "settings/train.json").write_text("[]"), "train.json"),
    "tokens": (lambda w: (w / "tokens/held_out/tokens.npy").write_bytes(b""), "tokens"),
    "metrics": (lambda w: (w / "metrics.jsonl").write_text('{"task"\n'), "metrics.jsonl"),
    "autoencoder": (lambda w: truncate(w / "saes" / next(iter(SWEEP)) / "sae_weights.safetensors"), next(iter(SWEEP))),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_in_the_work_directory_is_named_in_one_line(case, corpus, finished, tmp_path, capsys):
    spoil, word = BROKEN[case]
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    (workdir / "evaluation.json").unlink()
    spoil(workdir)
    assert launch.main(flags_of(corpus, workdir)) == 2
    assert word in capsys.readouterr().err.splitlines()[-1]


def test_a_broken_checkpoint_is_named_and_the_one_before_it_goes_on(corpus, finished, tmp_path, capsys):
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    shutil.rmtree(workdir / "saes")
    for path in (workdir / "checkpoints" / "80").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    assert launch.main(flags_of(corpus, workdir, "--tasks=train")) == 2
    assert "checkpoints/80" in capsys.readouterr().err.splitlines()[-1]
    shutil.rmtree(workdir / "checkpoints" / "80")
    assert launch.main(flags_of(corpus, workdir, "--tasks=train")) == 0
    for name in SWEEP:
        file = Path("saes") / name / "sae_weights.safetensors"
        assert (workdir / file).read_bytes() == (finished / file).read_bytes()


def test_a_work_directory_in_use_is_refused(corpus, finished, capsys):
    with Workdir(str(finished), resume=True).locked():
        assert launch.main(flags_of(corpus, finished)) == 2
    assert "another run is using it" in capsys.readouterr().err
