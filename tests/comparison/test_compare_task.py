"""`--tasks=compare` as a user runs it, at tiny sizes, and its refusals."""

from __future__ import annotations

import json

import pytest

import launch

TINY = ["--tasks=compare", "--compare_d_in=16", "--d_sae=48", "--batch_size=32", "--compare_rounds=1", "--compare_steps=3"]
RANDOM = ["--model=random", "--lm_n_layer=2", "--lm_n_embd=16", "--lm_n_head=2", "--lm_vocab_size=300", "--context_size=8"]


def test_a_comparison_writes_what_it_promises(tmp_path, capsys):
    """Training of an ensemble and extraction, in one run: four processes of their own."""
    more = ["--compare=train,extract", "--architecture=topk", "--k=3,5", "--hook_name=blocks.0.hook_resid_post"]
    arguments = ["launch.py", *TINY, *RANDOM, *more, "--extract_batch_size=32", f"--workdir={tmp_path / 'run'}"]
    assert launch.main(arguments) == 0
    found = json.loads((tmp_path / "run/comparison.json").read_text())
    training = found["train"]["topk-d48"]
    assert training["dense_equivalent_operations"] == 10 * 2 * 32 * 16 * 48
    assert training["contenders"].keys() == {"saejax", "PyTorch twin"} == found["extract"]["contenders"].keys()
    for own in (*training["contenders"].values(), *found["extract"]["contenders"].values()):
        assert own["per_second"] > 0 and own["memory_bytes"]["peak"] > own["memory_bytes"]["over_imports"] > 0
    largest = training["differences"]["largest"]
    assert largest["loss"] < 1e-5 and largest["latents_before"] < 1e-5 and largest["params_norm"] < 1e-4
    assert largest["selections"] == 0
    assert found["extract"]["differences"]["PyTorch twin"]["blocks.0.hook_resid_post"]["relative"] < 1e-5
    assert (tmp_path / "run/plots/comparison.png").read_bytes().startswith(b"\x89PNG")
    assert "time / saejax's" in capsys.readouterr().out
    assert launch.main(arguments) == 0
    assert "compare: complete" in capsys.readouterr().err


BAD = {
    "no twin": (["--architecture=matryoshka"], ["--architecture=matryoshka", "twin"]),
    "no twin of a form": (["--architecture=jumprelu", "--jumprelu_form=quadratic"], ["--jumprelu_form=quadratic", "twin"]),
    "optimizer": (["--optimizer=muon"], ["--optimizer=muon"]),
    "scaling by rows": (["--normalize_activations=layer_norm"], ["--normalize_activations=layer_norm"]),
    "nothing stored": (["--compare_d_in=0"], ["--compare=train", "no activations", "--compare_d_in"]),
    "planted store": (["--compare=store"], ["--compare_d_in=16", "--compare=store"]),
    "unknown comparison": (["--compare=speed"], ["--compare=speed", "train, extract, store, sweep"]),
    "peer that trains nothing here": (
        ["--compare_with=sparse_coding", "--architecture=topk"],
        ["--compare_with=sparse_coding"],
    ),
    "random weights to train on": (["--tasks=extract", "--model=random"], ["--model=random", "compare"]),
    "random weights to store": (["--compare=sweep", "--model=random"], ["--model=random", "tokenizer"]),
    "site": (["--compare=extract", "--hook_name=blocks.0.attn.hook_q"], ["--hook_name=blocks.0.attn.hook_q", "twin"]),
    "heads": (["--compare=extract", "--model=random", "--lm_n_head=3"], ["--lm_n_head=3", "--lm_n_embd=128"]),
    "window": (["--compare=extract", "--extract_batch_size=8"], ["--extract_batch_size=8", "--context_size=128"]),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_compared_is_refused_before_any_work(case, tmp_path, capsys):
    arguments, words = BAD[case]
    assert launch.main(["launch.py", *TINY, *arguments, f"--workdir={tmp_path / 'run'}"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and all(word in error for word in words), error
    assert not (tmp_path / "run").exists()
