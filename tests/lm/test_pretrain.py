"""Training a GPT-2 from scratch: it learns, it resumes bit for bit, and a loss that is not finite stops it."""

from __future__ import annotations

import dataclasses
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from saejax.checkpoint import Checkpoints
from saejax.errors import InputError
from saejax.lm import gpt2, pretrain
from saejax.metrics_log import MetricsLog

CONFIG = gpt2.GPT2Config(vocab_size=32, n_positions=8, n_embd=16, n_layer=1, n_head=2)
RECIPE = pretrain.Recipe(
    n_steps=6,
    warm_up_steps=2,
    batch_windows=4,
    learning_rate=1e-2,
    weight_decay=0.1,
    gradient_clip=1.0,
    dtype=jnp.float32,
    seed=7,
)


def windows(n=13, seed=0):
    """Each token follows from the one before it: t → 5 t + 3 modulo 32."""
    columns = [np.random.default_rng(seed).integers(0, 32, n)]
    for _ in range(7):
        columns.append((5 * columns[-1] + 3) % 32)
    return np.stack(columns, axis=1).astype(np.int32)


def train(directory, recipe=RECIPE, *, every=3, log_every=1, train_NxL=None):
    return pretrain.train(
        CONFIG,
        recipe,
        windows() if train_NxL is None else train_NxL,
        windows(5, seed=1),
        checkpoint_directory=directory / "checkpoints",
        metrics_path=directory / "metrics.jsonl",
        checkpoint_every_steps=every,
        log_every_steps=log_every,
    )


def lines(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def assert_same_bits(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(a), jax.device_get(b))


def test_the_loss_falls_on_a_sequence_that_can_be_learnt(tmp_path):
    recipe = dataclasses.replace(RECIPE, n_steps=120)
    params = train(tmp_path, recipe, every=60, log_every=20, train_NxL=windows(400))
    held_out = [line["held_out_loss"] for line in lines(tmp_path) if "held_out_loss" in line]
    losses = [line["loss"] for line in lines(tmp_path) if "loss" in line]
    assert abs(losses[0] - np.log(32)) < 1.0 and losses[-1] < 0.5
    assert held_out[-1] < 0.5
    final = pretrain.held_out_loss(params, windows(5, seed=1), config=CONFIG, dtype=jnp.float32)
    assert final == pytest.approx(held_out[-1], rel=1e-6)


def test_a_killed_run_that_goes_on_is_bit_for_bit_the_run_that_never_stopped(tmp_path, monkeypatch):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    for directory in (straight, killed):
        with MetricsLog(directory / "metrics.jsonl", "train") as log:
            log.write(99, 1, loss=0.5)
    expected = train(straight)

    batch = pretrain.batch

    def batch_until_5(tokens_NxL, step, **options):
        if step == 5:
            raise KeyboardInterrupt
        return batch(tokens_NxL, step, **options)

    monkeypatch.setattr(pretrain, "batch", batch_until_5)
    with pytest.raises(KeyboardInterrupt):
        train(killed)
    assert lines(killed)[-1]["step"] == 4, "the log is beyond the checkpoint of step 3"
    with open(killed / "metrics.jsonl", "a") as file:
        file.write('{"task": "pretrain", "st')

    asked = []

    def batch_and_note(tokens_NxL, step, **options):
        asked.append(step)
        return batch(tokens_NxL, step, **options)

    monkeypatch.setattr(pretrain, "batch", batch_and_note)
    assert_same_bits(train(killed), expected)
    assert asked == [3, 4, 5]
    assert lines(killed) == lines(straight)
    assert [line["step"] for line in lines(straight)] == [99, 1, 2, 3, 3, 4, 5, 6, 6]
    assert [line["tokens"] for line in lines(straight)] == [1] + [32 * s for s in (1, 2, 3, 3, 4, 5, 6, 6)]

    asked.clear()
    assert_same_bits(train(killed), expected)
    assert asked == [] and lines(killed) == lines(straight), "a finished run is not trained further"


def test_a_checkpoints_losses_are_in_the_log_before_it_is_written(tmp_path, monkeypatch):
    """Otherwise a kill after the checkpoint loses them, and the resumed run does not measure them again."""
    seen = {}
    monkeypatch.setattr(Checkpoints, "save", lambda self, step, tree: seen.update({step: lines(tmp_path)}))
    train(tmp_path)
    for step in (3, 6):
        assert [line.keys() - {"task", "tokens"} for line in seen[step] if line["step"] == step] == [
            {"step", "loss"},
            {"step", "held_out_loss"},
        ]


def test_a_batch_is_pure_in_the_step_and_a_pass_visits_each_window_once():
    tokens_NxL = np.arange(26).reshape(13, 2)
    options = {"batch_windows": 4, "seed": 3}
    batches = [pretrain.batch(tokens_NxL, step, **options) for step in range(13)]
    for step in (12, 0, 7, 3, 12):
        np.testing.assert_array_equal(pretrain.batch(tokens_NxL, step, **options), batches[step])
    rows = np.concatenate(batches)[:, 0].tolist()
    passes = [rows[i : i + 13] for i in range(0, 52, 13)]
    assert all(sorted(p) == list(range(0, 26, 2)) for p in passes)
    assert len({tuple(p) for p in passes}) == 4, "each pass has an order of its own"
    assert np.any(pretrain.batch(tokens_NxL, 0, batch_windows=4, seed=4) != batches[0])
    assert pretrain.batch(tokens_NxL, 0, batch_windows=30, seed=3).shape == (30, 2)


DIVERGING = dataclasses.replace(RECIPE, learning_rate=float("inf"), warm_up_steps=0)


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step(tmp_path):
    with pytest.raises(InputError, match="the loss is nan at step 1;") as caught:
        train(tmp_path, DIVERGING, every=6)
    message = str(caught.value)
    assert "\n" not in message and "no checkpoint was made yet" in message and "--lm_learning_rate" in message
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        assert checkpoints.latest_step is None


@pytest.mark.parametrize(("bad_step", "log_every"), [(4, 1), (4, 2), (5, 2), (5, 6), (3, 6)])
def test_the_step_is_named_within_a_dispatch_of_many(bad_step, log_every, tmp_path, monkeypatch):
    n_done = 0

    def train_steps(state, tokens_SxBxL, **options):
        nonlocal n_done
        steps = np.arange(n_done, n_done + len(tokens_SxBxL))
        n_done += len(steps)
        return state, np.where(steps == bad_step, np.inf, 1.0)

    monkeypatch.setattr(pretrain, "train_steps", train_steps)
    with pytest.raises(InputError, match=f"the loss is inf at step {bad_step}; the checkpoint of step 3 is kept"):
        train(tmp_path, log_every=log_every)
    assert max(line["step"] for line in lines(tmp_path)) <= bad_step


def test_parameters_that_are_not_finite_are_never_kept(tmp_path):
    """The loss of step 0 is finite and the update after it is not: a checkpoint of step 1 would hold NaN."""
    with pytest.raises(InputError, match="step [01]"):
        train(tmp_path, DIVERGING, every=1)
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        assert checkpoints.latest_step is None
    assert not re.search("NaN|Infinity", (tmp_path / "metrics.jsonl").read_text())


def test_held_out_loss_is_the_mean_over_all_predicted_tokens():
    tokens_NxL = np.random.default_rng(0).integers(0, 32, (37, 8))
    params = jax.tree.map(lambda p: 10 * p, gpt2.init(CONFIG, jax.random.key(0)))
    logits = np.asarray(jax.jit(lambda p: gpt2.run(p, tokens_NxL, config=CONFIG)[0])(params), np.float64)
    logprobs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = -np.take_along_axis(logprobs[:, :-1], tokens_NxL[:, 1:, None], -1).mean()
    actual = pretrain.held_out_loss(params, tokens_NxL, config=CONFIG, dtype=jnp.float32)
    assert actual == pytest.approx(expected, rel=1e-5)


def test_the_optimizer_is_clipped_adamw_that_decays_matrices_only():
    params = {"W": jnp.asarray([[1.0, -2.0], [0.5, 3.0]]), "b": jnp.asarray([1.0, -1.0])}
    grads = [{"W": jnp.asarray([[3.0, 0.1], [0.2, -4.0]]), "b": jnp.asarray([0.5, 0.0])}, params]
    optimizer = pretrain.optimizer(RECIPE)
    state, ours = optimizer.init(params), params

    @jax.jit
    def update(grads, state, params):
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    expected = {name: np.asarray(p, np.float64) for name, p in params.items()}
    moments = {name: (np.zeros(p.shape), np.zeros(p.shape)) for name, p in params.items()}
    rates = [0.0, 0.005, 0.01, *(0.01 * (0.01 + 0.495 * (1 + np.cos(np.pi * i / 4))) for i in (1, 2, 3))]
    for step, rate in enumerate(rates):
        grad = {name: np.asarray(g, np.float64) for name, g in grads[step % 2].items()}
        norm = np.sqrt(sum(np.square(g).sum() for g in grad.values()))
        for name, g in grad.items():
            g = g / max(norm, 1.0)
            m, v = (0.9 * moments[name][0] + 0.1 * g, 0.99 * moments[name][1] + 0.01 * g * g)
            moments[name] = (m, v)
            change = m / (1 - 0.9 ** (step + 1)) / (np.sqrt(v / (1 - 0.99 ** (step + 1))) + 1e-8)
            expected[name] = expected[name] - rate * (change + (0.1 * expected[name] if name == "W" else 0))
        ours, state = update(grads[step % 2], state, ours)
        for name, value in expected.items():
            np.testing.assert_allclose(ours[name], value, rtol=2e-6, err_msg=f"{name} after step {step}")
