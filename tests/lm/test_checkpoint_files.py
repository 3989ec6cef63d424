"""What a run leaves on disk: checkpoints, `metrics.jsonl` and small files, each whole or as it was before."""

from __future__ import annotations

import json
import os
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from saejax import files, metrics_log
from saejax.checkpoint import Checkpoints
from saejax.metrics_log import MetricsLog


class State(NamedTuple):
    params: dict
    opt_state: optax.OptState
    step: jax.Array


def state(seed=0):
    generator = np.random.default_rng(seed)
    params = {
        "float": jnp.asarray(generator.standard_normal((3, 5)), jnp.float32),
        "int": jnp.asarray(generator.integers(-(2**31), 2**31, 7), jnp.int32),
        "half": jnp.asarray(generator.standard_normal(6), jnp.bfloat16),
        "flags": jnp.asarray([True, False, True]),
        "odd": jnp.asarray([np.nan, -0.0, np.inf, 1e-45], jnp.float32),
    }
    opt_state = optax.adam(1e-3).init({"float": params["float"]})
    opt_state = jax.tree.map(lambda a: a + jnp.asarray(seed + 3, a.dtype), opt_state)
    return State(params, opt_state, jnp.int32(12345678 + seed))


def bits(tree):
    return [(a.shape, a.dtype.name, np.asarray(a).tobytes()) for a in jax.tree.leaves(tree)]


def test_a_checkpoint_is_restored_bit_for_bit(tmp_path):
    with Checkpoints(tmp_path / "new") as checkpoints:
        assert checkpoints.latest_step is None
        checkpoints.save(4, state())
    with Checkpoints(tmp_path / "new") as checkpoints:
        assert checkpoints.latest_step == 4
        restored = checkpoints.restore(4, jax.tree.map(jnp.zeros_like, state()))
    assert jax.tree.structure(restored) == jax.tree.structure(state())
    assert bits(restored) == bits(state())
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(restored))


def test_what_is_saved_may_be_overwritten_at_once(tmp_path):
    tree = {"a": np.arange(1000.0, dtype=np.float32)}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, tree)
        tree["a"][:] = -1
    with Checkpoints(tmp_path) as checkpoints:
        np.testing.assert_array_equal(checkpoints.restore(1, tree)["a"], np.arange(1000))


def test_the_newest_are_kept(tmp_path):
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(step, state(step))
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.isdigit()) == ["2", "3"]
    with Checkpoints(tmp_path) as checkpoints:
        for step in (2, 3):
            assert bits(checkpoints.restore(step, state())) == bits(state(step))


def test_saving_a_step_again_changes_nothing(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(3, state())
        checkpoints.save(3, state(1))
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(3, state(1))
        assert bits(checkpoints.restore(3, state())) == bits(state())


@pytest.mark.parametrize("template", [{"a": np.zeros(4, np.float32)}, {"b": np.zeros(3, np.float32)}, {}])
def test_a_template_of_other_shapes_or_names_is_refused(template, tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"a": np.ones(3, np.float32)})
    with Checkpoints(tmp_path) as checkpoints, pytest.raises((ValueError, KeyError, TypeError)):
        checkpoints.restore(1, template)


def write(path, task, steps, resume_step=0):
    with MetricsLog(path, task, resume_step) as log:
        for step in steps:
            log.write(step, 10 * step, member="m", loss=1 / (1 + step))


def read_pairs(path):
    return [(line["task"], line["step"]) for line in metrics_log.read(path)]


def test_a_line_is_json_with_task_step_and_tokens(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write(path, "train", [3])
    assert path.read_text() == '{"task": "train", "step": 3, "tokens": 30, "member": "m", "loss": 0.25}\n'
    assert metrics_log.read(path) == [json.loads(path.read_text())]


def test_a_resumed_log_keeps_other_tasks_and_its_own_lines_up_to_the_step(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write(path, "pretrain", [1, 2, 900])
    write(path, "train", [1, 2, 3, 4])
    write(path, "train", [3, 4, 5], resume_step=2)
    assert read_pairs(path) == [
        *[("pretrain", step) for step in (1, 2, 900)],
        *[("train", step) for step in (1, 2, 3, 4, 5)],
    ]
    write(path, "pretrain", [1])
    assert read_pairs(path) == [("train", step) for step in (1, 2, 3, 4, 5)] + [("pretrain", 1)]


def test_a_line_cut_short_by_a_kill_is_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write(path, "train", [1, 2, 3])
    whole = path.read_text()
    for cut in (1, 2, 20):
        path.write_text(whole[:-cut])
        assert read_pairs(path) == [("train", 1), ("train", 2)]
        write(path, "train", [3], resume_step=2)
        assert path.read_text() == whole


def test_an_absent_log_is_empty(tmp_path):
    assert metrics_log.read(tmp_path / "absent.jsonl") == []
    write(tmp_path / "new" / "metrics.jsonl", "train", [1])
    assert read_pairs(tmp_path / "new" / "metrics.jsonl") == [("train", 1)]


def test_flushed_lines_are_seen_by_readers(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path, "train") as log:
        log.write(1, 1, loss=2.0)
        log.flush()
        assert read_pairs(path) == [("train", 1)]


def test_a_file_is_replaced_whole_and_its_folder_made(tmp_path):
    path = tmp_path / "a" / "b" / "file.txt"
    files.write_text(path, "first, and longer\n")
    assert path.read_text() == "first, and longer\n"
    inode = path.stat().st_ino
    files.write_text(path, "ü\n")
    assert path.read_text(encoding="utf-8") == "ü\n"
    assert path.stat().st_ino != inode, "a new file took the old one's name"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    files.write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        files.write_text(path, "new \ud800")
    assert path.read_text() == "old"

    def killed(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        files.write_text(path, "new")
    assert path.read_text() == "old"


@pytest.mark.parametrize("value", [float("nan"), [1.0, float("inf")]])
def test_numbers_that_are_not_json_are_refused_and_the_old_file_stays(value, tmp_path):
    path = tmp_path / "file.json"
    files.write_json(path, {"a": [1, 2.5, None, "ü"]})
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(path, {"a": value})
    assert files.read_json(path) == {"a": [1, 2.5, None, "ü"]}


def test_a_fingerprint_follows_the_value_and_not_the_order_of_keys():
    assert files.fingerprint({"a": 1, "b": [2, None]}) == files.fingerprint({"b": [2, None], "a": 1})
    assert files.fingerprint({"a": 1}) != files.fingerprint({"a": 2})
    assert files.fingerprint(b"abc") == "ba7816bf8f01cfea"
