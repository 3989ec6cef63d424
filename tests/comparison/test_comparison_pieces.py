"""The pieces of a comparison that need no process: counts of operations, differences, speeds, rows."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from launch import flags_lib
from saejax.comparison import contenders, differences, operations, planted, plot, rounds
from saejax.config import Config
from saejax.errors import InputError
from saejax.lm.gpt2 import GPT2Config
from saejax.tasks import compare

PRODUCT = 2 * 3 * 32 * 8 * 64  # of 3 members


def test_operations_of_a_training_step_are_its_products():
    sizes = (3, 32, 8, 64)
    assert operations.training_step(*sizes, "relu", {}) == 5 * PRODUCT
    assert operations.training_step(*sizes, "topk", {"multi_topk": True}) == 8 * PRODUCT
    assert operations.training_step(*sizes, "gated", {"gated_form": "rajamanoharan2024"}) == 7 * PRODUCT
    assert operations.training_step(*sizes, "gated", {"gated_form": "saelens"}) == 8 * PRODUCT


def test_operations_of_an_extraction_are_its_products():
    n, L, D, inner = 2, 10, 8, 32
    qkv, scores, projection, mlp = 6 * D * D, 2 * L * D, 2 * D * D, 2 * D * inner
    block = qkv + 2 * scores + projection + 2 * mlp
    expected = {
        "blocks.0.hook_resid_pre": 0,
        "blocks.0.attn.hook_q": qkv,
        "blocks.1.attn.hook_z": block + qkv + 2 * scores,
        "blocks.1.hook_resid_mid": block + qkv + 2 * scores + projection,
        "blocks.1.mlp.hook_post": block + qkv + 2 * scores + projection + mlp,
        "blocks.1.hook_resid_post": 2 * block,
        "blocks.2.hook_resid_pre": 2 * block,
    }
    for site, cost in expected.items():
        assert operations.extraction(n, L, D, inner, [site, "blocks.0.hook_resid_pre"]) == n * L * cost, site
    assert block == 24 * D * D + 4 * L * D  # GPT-2's usual count, its inner width being 4 D


def test_differences_say_what_is_apart():
    latents = np.array([[[0.0, 2.0, 1.0], [4.0, 0.0, 0.0]]])
    ours = {"losses_SxM": np.array([[1.0], [2.0]]), "params/W": np.ones((1, 2, 2))}
    ours |= {"latents_before": latents, "latents_after": latents}
    theirs = {**ours, "latents_after": np.array([[[0.0, 2.0, 0.0], [4.0, 0.0, 0.5]]]), "params/W": np.full((1, 2, 2), 1.5)}
    found = differences.of_training(ours, theirs, ["m"])
    assert found["m"]["latents_before"] == {"absolute": 0.0, "relative": 0.0, "norm": 0.0, "selections": 0.0}
    assert found["m"]["latents_after"]["absolute"] == 1.0 and found["m"]["latents_after"]["relative"] == 0.25
    assert found["m"]["latents_after"]["selections"] == 0.5  # 2 of the 4 that either has
    largest = differences.largest(found)
    assert largest["loss"] == 0 and largest["params"] == largest["params_norm"] == 0.5 and largest["selections"] == 0.5


def test_speeds_are_of_medians_and_ratios_of_rounds():
    seconds = {"saejax": [1.0, 2.0, 1.0], "PyTorch twin": [3.0, 3.0, 2.0]}
    found = rounds.speeds(seconds, "saejax", operations=100, tokens=10, rate=200.0)
    assert found["saejax"]["share_of_matrix_rate"] == 0.5 and found["saejax"]["tokens_per_second"] == 10
    assert found["PyTorch twin"]["time_over_saejax"] == {"median": 2.0, "min": 1.5, "max": 3.0}


def test_planted_rows_follow_from_their_seed():
    x = planted.rows(100, 16, 3)
    assert x.shape == (100, 16) and (x == planted.rows(100, 16, 3)).all() and (x != planted.rows(100, 16, 4)).any()
    assert np.linalg.norm(x.astype(np.float32).mean(0)) > 1  # they have a mean


def test_a_plot_of_everything_is_drawn(tmp_path):
    own = {"seconds": {"median": 0.1}, "time_over_saejax": {"median": 1.0, "min": 1.0, "max": 1.0}}
    twin = {"seconds": {"median": 0.2}, "time_over_saejax": {"median": 2.0, "min": 1.8, "max": 2.1}}
    record = {
        "contenders": {"saejax": own, "PyTorch twin": twin},
        "dense_equivalent_operations": 8,
        "matrix_products": {"operations_per_second": 100.0},
        "sites": ["blocks.1.hook_resid_post"],
        "shape": {"members": 2, "batch_size": 8, "d_in": 4, "d_sae": 8, "windows": 2, "length": 3},
    }
    share = {"median": 0.8, "min": 0.7, "max": 0.9}
    store = {"share_of_sequential": share, "sequential_bytes_per_second": share, "shuffled_bytes_per_second": share}
    sweep = {"ratio": 0.5, "together_seconds": 2.0, "alone_seconds": {"a": 2.0, "b": 2.0}, "alone_total_seconds": 4.0}
    plot.draw(tmp_path / "c.png", {"train": {"relu": record}, "extract": record, "store": {"cached": store}, "sweep": sweep})
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_each_member_alone_is_the_sweep_with_its_values():
    config = dataclasses.replace(
        Config(), architecture=("relu", "topk"), relu_form="april2024", l1_coefficient=(1.0, 2.0), k=(8,), d_sae=(64,)
    )
    alone = compare._alone(config, GPT2Config(10, 8, 16, 4, 2))
    assert len(alone) == 3
    for member, flagfile in alone.items():
        flags = dict(line.partition("=")[::2] for line in flagfile.splitlines())
        assert "--workdir" not in flags and flags["--tasks"] == "extract,train,evaluate"
        assert flags["--architecture"] == member.split("-")[0]
        assert ("--k" in flags) == (flags["--architecture"] == "topk")
        assert flags["--relu_form"] == ("april2024" if "--l1_coefficient" in flags else "bricken2023")
    assert flags_lib.to_flagfile(config)


def test_a_peer_that_does_not_fit_or_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in ("sae_lens", "autoencoders") else object())
    for arguments, words in (
        ((["saelens"], ["relu"], ["train"]), "--compare_with=saelens.*pip install sae-lens"),
        ((["sparse_coding"], ["relu"], ["train"]), "--compare_with=sparse_coding.*PYTHONPATH"),
        ((["sparsify"], ["relu"], ["train"]), "--compare_with=sparsify: trains topk"),
        ((["transformer_lens"], ["relu"], ["train"]), "--compare_with=transformer_lens.*add extract"),
        ((["sparsify"], ["topk"], ["extract"]), "--compare_with=sparsify.*add train"),
    ):
        with pytest.raises(InputError, match=words):
            contenders.check(*arguments)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"saejax\[torch\]"):
        contenders.check([], ["relu"], ["train"])
