"""The command as a user runs it: a whole small run, killed and resumed, and bad input refused in one line with status 2."""

from __future__ import annotations

import ast
import json
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

ROOT = Path(__file__).parent.parent
METRICS = {
    *("l0", "l1", "mse", "fvu", "explained_variance", "cosine_similarity", "relative_reconstruction_bias", "dead_fraction"),
    *("ce_clean", "ce_sae", "ce_zero_ablation", "ce_recovered", "kl_sae"),
}
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
        for module in (argparse_like for argparse_like in sorted(Path(os.__file__).parent.glob("[a-t]*.py"))):
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


def test_a_run_leaves_what_it_promises(finished):
    results = json.loads((finished / "evaluation.json").read_text())
    assert results["members"].keys() == SWEEP.keys()
    for name, metrics in results["members"].items():
        assert METRICS <= metrics.keys()
        assert all(np.isfinite(value) for value in metrics.values()), name
        assert metrics["ce_clean"] < metrics["ce_zero_ablation"]
        assert {p.name for p in (finished / "saes" / name).iterdir()} == {
            "cfg.json",
            "sae_weights.safetensors",
            "sparsity.safetensors",
        }
    assert results["members"]["topk-k8-d256-lr1e-3-seed0"]["l0"] <= 8
    assert results["members"]["topk-k8-d256-lr1e-3-seed0"]["fvu"] < results["members"]["topk-k4-d256-lr1e-3-seed0"]["fvu"]
    (site,) = results["recommended"]
    assert results["recommended"][site]["member"] in results["frontier"][site]
    for plot in ("pareto", "loss_curves", "densities"):
        assert (finished / "plots" / f"{plot}.png").read_bytes().startswith(b"\x89PNG")
    run = json.loads((finished / "run.json").read_text())
    assert run["tasks"].keys() == {"extract", "train", "evaluate"}
    assert all(task["seconds"] > 0 and task["peak_memory_bytes"] > 1e8 for task in run["tasks"].values())
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 8 * len(SWEEP) and {line["member"] for line in lines} == SWEEP.keys()


def test_complete_tasks_are_skipped_and_the_flagfile_repeats_the_run(finished, capsys):
    rewritten = ("flags.txt", ".lock")
    before = {p: p.stat().st_mtime_ns for p in finished.rglob("*") if p.is_file() and p.name not in rewritten}
    assert launch.main(["launch.py", f"--flagfile={finished / 'flags.txt'}"]) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert capsys.readouterr().err.count("complete in") == 3


@pytest.mark.parametrize("kill_at", [("tokens", 1), ("progress.json", 1), ("metrics.jsonl", 2000), ("metrics.jsonl", 9000)])
def test_a_killed_run_ends_with_the_same_bits(kill_at, corpus, finished, tmp_path):
    """SIGKILL once a file has reached a size, in each phase; then the same command again."""
    name, size = kill_at
    workdir = tmp_path / "run"
    arguments = flags_of(corpus, workdir, "--tasks=extract,train")
    process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if any(path.stat().st_size >= size for path in list(workdir.rglob(name)) if path.exists()):
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


BAD = {
    "architecture": (["--architecture=topk,sparse"], ["--architecture=sparse", "relu, tied, topk"]),
    "site": (["--hook_name=blocks.1.hook_resid_pst"], ["--hook_name=blocks.1.hook_resid_pst", "blocks.1.hook_resid_post"]),
    "layer": (["--hook_name=blocks.7.hook_resid_post"], ["--hook_name=blocks.7.hook_resid_post", "4 blocks"]),
    "site without width": (["--hook_name=blocks.1.attn.hook_pattern"], ["hook_pattern", "no fixed width"]),
    "model": (["--model=./no/such/folder"], ["--model=./no/such/folder", "no such directory"]),
    "file": (["--dataset=nowhere.txt"], ["--dataset=nowhere.txt", "no such file"]),
    "empty text": (["--dataset=EMPTY"], ["empty.txt", "empty"]),
    "kind of file": (["--dataset=launch.py"], ["--dataset=launch.py", ".jsonl"]),
    "context": (["--context_size=129"], ["--context_size=129", "128"]),
    "static options": (["--expansion_factor=2"], ["--d_sae=256", "--expansion_factor=2"]),
    "hyper-parameter nobody takes": (["--architecture=relu"], ["--k=4,8", "takes no k"]),
    "k above the latents": (["--k=8,300"], ["--k=300", "256"]),
    "too few rows": (["--training_tokens=10"], ["--training_tokens=10", "--batch_size=500"]),
    "unknown flag": (["--learning_rat=1"], ["learning_rat"]),
    "not a number": (["--k=many"], ["--k", "list of int"]),
    "intervals": (["--checkpoint_every_steps=15"], ["--checkpoint_every_steps=15", "multiple of --log_every_steps=10"]),
    "flagfile": (["--flagfile=no.flags"], ["no.flags"]),
    "model of an earlier task": (["--model=lm"], ["--model=lm", "pretrain"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_status_2_before_any_work(case, corpus, tmp_path, capsys):
    (tmp_path / "empty.txt").touch()
    arguments, words = BAD[case]
    arguments = [a.replace("EMPTY", str(tmp_path / "empty.txt")) for a in arguments]
    assert launch.main(flags_of(corpus, tmp_path / "run", *arguments)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("launch.py: "), error
    assert all(word in error for word in words), error
    assert not (tmp_path / "run").exists()


def test_a_dataset_or_model_that_no_hub_gives_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for flag in ("--model=no-such-user/no-such-model", "--dataset=no-such-user/no-such-dataset"):
        code = [sys.executable, "launch.py", flag, f"--workdir={tmp_path / 'run'}"]
        done = subprocess.run(code, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
        assert done.returncode == 2 and flag in done.stderr.splitlines()[-1], done.stderr
    assert not (tmp_path / "run").exists()


def test_a_tracker_that_is_not_installed_is_refused(corpus, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert launch.main(flags_of(corpus, tmp_path / "run", "--wandb_project=demo")) == 2
    assert "saejax[wandb]" in capsys.readouterr().err


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


def test_an_option_that_no_chosen_architecture_takes_is_refused(corpus, tmp_path, capsys):
    arguments = ["--architecture=topk", "--l1_coefficient=", "--relu_form=april2024"]
    assert launch.main(flags_of(corpus, tmp_path / "run", *arguments)) == 2
    assert "--relu_form=april2024" in capsys.readouterr().err


def test_what_is_gone_is_made_again_to_the_same_bits(corpus, finished, tmp_path, capsys):
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    shutil.rmtree(workdir / "saes")
    (workdir / "evaluation.json").unlink()
    assert launch.main(flags_of(corpus, workdir)) == 0
    assert capsys.readouterr().err.count("is gone; doing it again") == 2
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


def test_pretraining_makes_a_model_that_the_other_tasks_use(corpus, tmp_path, capsys):
    """`--model=lm` in one command; and a pretraining killed after its model appeared ends like any other."""
    sizes = [
        "--lm_n_layer=3",
        "--lm_n_embd=32",
        "--lm_n_head=2",
        "--lm_vocab_size=400",
        "--lm_tokens=4096",
        "--lm_batch_size=512",
    ]
    arguments = [
        *sizes,
        "--lm_text_tokens=20000",
        "--lm_warm_up_steps=2",
        "--model=lm",
        "--tasks=pretrain,extract,train,evaluate",
    ]
    arguments = flags_of(corpus, tmp_path / "run", *arguments, "--training_tokens=5000", "--d_sae=64")
    assert launch.main(arguments) == 0
    run = json.loads((tmp_path / "run/run.json").read_text())
    assert run["tasks"]["pretrain"]["losses"].keys() == {"unigram", "bigram", "gpt2"}
    card = (tmp_path / "run/lm/README.md").read_text()
    assert f"{run['tasks']['pretrain']['losses']['bigram']:.3f}" in card
    weights_before = (tmp_path / "run/lm/model.safetensors").read_bytes()
    del run["tasks"]["pretrain"]
    (tmp_path / "run/run.json").write_text(json.dumps(run))
    assert launch.main([a for a in arguments if not a.startswith("--tasks")] + ["--tasks=pretrain"]) == 0
    assert (tmp_path / "run/lm/model.safetensors").read_bytes() == weights_before


def test_text_too_short_for_a_window_is_refused(tmp_path, capsys):
    (tmp_path / "short.txt").write_text("Only a few words.\n\nAnd a few more.\n")
    assert launch.main(flags_of(tmp_path / "short.txt", tmp_path / "run")) == 2
    assert "less than one window" in capsys.readouterr().err
    (tmp_path / "other.txt").write_text("Still few.\n")  # and the folder is not bound to the text that could not be used
    assert launch.main(flags_of(tmp_path / "other.txt", tmp_path / "run")) == 2
    assert "less than one window" in capsys.readouterr().err


def test_a_run_that_diverges_names_step_and_member_and_keeps_the_checkpoint(corpus, tmp_path, capsys):
    arguments = flags_of(
        corpus, tmp_path / "run", "--architecture=relu", "--k=", "--learning_rate=1e30", "--lr_warm_up_steps=0"
    )
    assert launch.main(arguments) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "relu-l1_1-d256-lr1e30-seed0" in last and "at step" in last and "--learning_rate" in last
