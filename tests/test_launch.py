"""The command as a user runs it: a whole small run, killed and resumed, and bad input refused in one line with status 2."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import launch
from tests.conftest import SWEEP, flags_of

ROOT = Path(__file__).parent.parent
METRICS = {
    *("l0", "l1", "mse", "fvu", "explained_variance", "cosine_similarity", "relative_reconstruction_bias", "dead_fraction"),
    *("ce_clean", "ce_sae", "ce_zero_ablation", "ce_recovered", "kl_sae"),
}


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


BAD = {
    "architecture": (["--architecture=topk,sparse"], ["--architecture=sparse", "relu, tied, tied_topk"]),
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


def test_an_option_that_no_chosen_architecture_takes_is_refused(corpus, tmp_path, capsys):
    arguments = ["--architecture=topk", "--l1_coefficient=", "--relu_form=april2024"]
    assert launch.main(flags_of(corpus, tmp_path / "run", *arguments)) == 2
    assert "--relu_form=april2024" in capsys.readouterr().err


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
