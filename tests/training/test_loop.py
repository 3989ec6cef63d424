"""The host loop: resumed runs are the runs that never stopped, metrics are complete, divergence stops it."""

from __future__ import annotations

import jax
import ml_dtypes
import numpy as np
import pytest

from saejax import metrics_log
from saejax.errors import InputError
from saejax.training import loop
from saejax.training.ensemble import Inputs, ensemble
from saejax.training.grid import Sites, groups
from saejax.training.schedules import Schedules
from saejax.training.step import StepOptions

B = 16


class Rows:
    """An ActivationSource of random rows, pure in the step."""

    width, n_rows = 8, 10_000

    def __init__(self, bad_step: int | None = None):
        self.bad_step = bad_step

    def batches(self, step, n_steps):
        made = np.stack([np.random.default_rng(s).normal(size=(B, self.width)) for s in range(step, step + n_steps)])
        if self.bad_step is not None and step <= self.bad_step < step + n_steps:
            made[self.bad_step - step] = np.inf
        return made.astype(ml_dtypes.bfloat16)


def make_ensembles(n_steps, architectures=("relu", "topk")):
    made = groups(
        sites=[Sites("site", 8)],
        architectures=architectures,
        d_saes=[24],
        expansion_factors=[],
        learning_rates=[1e-2],
        seeds=[0],
        hparams={"l1_coefficient": (0.1, 1.0), "k": (2, 3)},
        options={},
    )
    return [ensemble(group, StepOptions(Schedules(n_steps, 2, 4, 3), dead_window_steps=3)) for group in made]


def train(folder, *, stop_at=None, n_steps=12, source=None, rhythm=None, architectures=("relu", "topk")):
    """Trains to `n_steps`; `stop_at` ends the host loop there, as a kill after that checkpoint would."""
    return loop.train(
        make_ensembles(n_steps, architectures),
        {"site": source or Rows()},
        batch_size=B,
        scales={"site": 0.5},
        b_dec={"site": np.full(8, 0.1)},
        rhythm=rhythm or loop.Rhythm(stop_at or n_steps, log_every=2, checkpoint_every=4),
        checkpoint_directory=folder / "checkpoints",
        metrics_path=folder / "metrics.jsonl",
    ).states


def assert_equal_trees(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


def test_a_resumed_run_is_bit_for_bit_the_run_that_never_stopped(tmp_path):
    whole = train(tmp_path / "whole")
    train(tmp_path / "cut", stop_at=4)
    train(tmp_path / "cut", stop_at=8)
    resumed = train(tmp_path / "cut")
    assert_equal_trees(whole, resumed)
    assert (tmp_path / "whole/metrics.jsonl").read_text() == (tmp_path / "cut/metrics.jsonl").read_text()


def test_what_training_remembers_goes_through_checkpoints(tmp_path):
    """batch_topk's threshold and p_anneal's queue and coefficient, cut where p has just changed."""
    both = ("batch_topk", "p_anneal")
    whole = train(tmp_path / "whole", architectures=both)
    train(tmp_path / "cut", stop_at=4, architectures=both)
    train(tmp_path / "cut", stop_at=8, architectures=both)
    assert_equal_trees(whole, train(tmp_path / "cut", architectures=both))
    assert (whole[0].params["threshold"] > 0).all() and (whole[1].params["lp_scale"] != 1.0).all()


def test_resampling_is_resumed_bit_for_bit_too_and_its_counts_are_in_the_lines(tmp_path):
    """Resampling at steps 3 and 6 of 12 (the window is one step), cut at 4 and at 8, and inside a line's interval."""

    def rhythm(n_steps):
        return loop.Rhythm(n_steps, 2, 4, loop.Resampling(every=3, times=2, window=1, n_batches=2))

    whole = train(tmp_path / "whole", rhythm=rhythm(12))
    for stop_at in (4, 8, 12):
        resumed = train(tmp_path / "cut", rhythm=rhythm(stop_at))
    assert_equal_trees(whole, resumed)
    lines = metrics_log.read(tmp_path / "whole/metrics.jsonl")
    assert lines == metrics_log.read(tmp_path / "cut/metrics.jsonl")
    counts = {step: sum(line["resampled"] for line in lines if line["step"] == step) for step in (2, 4, 6, 8, 10, 12)}
    assert counts[4] > 0 and counts[6] > 0 and counts[2] == counts[8] == counts[10] == counts[12] == 0
    plain = train(tmp_path / "plain")
    assert any((a != b).any() for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(whole)))


def test_lines_written_after_the_last_checkpoint_are_not_kept_twice(tmp_path):
    train(tmp_path, stop_at=8)
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"task": "train", "step": 10, "tokens": 160, "member": "x", "loss": 1.0}\n{"task": "tr')
    train(tmp_path)
    steps = [line["step"] for line in metrics_log.read(tmp_path / "metrics.jsonl") if line["member"].startswith("topk-k2")]
    assert steps == [2, 4, 6, 8, 10, 12]


def test_metrics_are_means_over_the_steps_since_the_last_line(tmp_path):
    train(tmp_path, n_steps=4)
    every = make_ensembles(4)[0]
    inputs = Inputs(Rows().batches(0, 4), None, np.float32(0.5), np.float32(0.5))
    _, values = every.steps(every.init(np.full(8, 0.1, np.float32)), inputs)
    lines = [line for line in metrics_log.read(tmp_path / "metrics.jsonl") if line["member"].startswith("relu-l1_0.1")]
    np.testing.assert_allclose([line["loss"] for line in lines], np.reshape(values["loss"][:, 0], (2, 2)).mean(1), rtol=1e-5)
    assert [line["tokens"] for line in lines] == [2 * B, 4 * B]


def test_the_last_steps_have_their_line_too(tmp_path):
    train(tmp_path, n_steps=7)
    assert sorted({line["step"] for line in metrics_log.read(tmp_path / "metrics.jsonl")}) == [2, 4, 6, 7]


def test_another_rhythm_on_resuming_stops_neither_lines_nor_checkpoints(tmp_path):
    train(tmp_path, stop_at=4)
    whole = train(tmp_path / "whole")
    states = train(tmp_path, rhythm=loop.Rhythm(12, log_every=3, checkpoint_every=6))
    assert sorted({line["step"] for line in metrics_log.read(tmp_path / "metrics.jsonl")}) == [2, 4, 6, 9, 12]
    assert {"6", "12"} == {path.name for path in (tmp_path / "checkpoints").iterdir()}
    for ours, theirs in zip(jax.tree.leaves(states), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_a_loss_that_is_not_finite_names_step_and_member_and_keeps_the_checkpoint(tmp_path):
    with pytest.raises(InputError) as error:
        train(tmp_path, source=Rows(bad_step=7))
    assert "at step 7" in str(error.value) and "relu-l1_0.1-d24" in str(error.value) and "step 4" in str(error.value)
    resumed = train(tmp_path)
    assert_equal_trees(resumed, train(tmp_path / "other"))


def test_parameters_that_are_not_finite_are_never_kept(tmp_path):
    """Rows of step 3 are finite, as is their loss, but its gradient overflows: step 4's checkpoint must not be written."""

    class Huge(Rows):
        def batches(self, step, n_steps):
            made = super().batches(step, n_steps)
            if step <= 3 < step + n_steps:
                made[3 - step] = 3e18
            return made

    with pytest.raises(InputError, match="at step 3"):
        train(tmp_path, n_steps=4, source=Huge())
    assert not any(path.name == "4" for path in (tmp_path / "checkpoints").iterdir())


def test_a_dispatch_divides_both_intervals_and_fits_the_buffer():
    rhythm = loop.Rhythm(1000, log_every=60, checkpoint_every=90)
    assert rhythm.dispatch(1) == 30
    assert rhythm.dispatch(loop._DISPATCH_BYTES // 7) == 6
    assert rhythm.dispatch(loop._DISPATCH_BYTES * 2) == 1


def test_what_compile_has_made_steps_finds_ready():
    compiled = []
    for e in make_ensembles(4):
        state = e.init(jax.numpy.zeros(8))
        rows = jax.numpy.zeros((4, B, 8), "bfloat16")
        inputs = Inputs(rows, None, jax.numpy.float32(1), jax.numpy.float32(1))
        program = e.compile(jax.eval_shape(e.init, jax.numpy.zeros(8)), jax.eval_shape(lambda i: i, inputs))
        assert program.memory_analysis().temp_size_in_bytes > 0
        compiled.append((e, state, inputs))
    seen = []
    jax.monitoring.register_event_duration_secs_listener(lambda event, seconds, **about: seen.append(event))
    for e, state, inputs in compiled:
        e.steps(state, inputs)
    assert not [event for event in seen if "backend_compile" in event]
