"""What every architecture in the registry must do; a new one gets all of it by its row.

`python -m tests.sae.test_contract` prints the table of architectures and checks.
"""

from __future__ import annotations

import functools
import sys
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saejax.interop import saelens
from saejax.sae.base import unit_rows
from saejax.sae.frame import Frame
from saejax.sae.registry import latent_axis
from saejax.training.ensemble import Inputs, ensemble, member
from saejax.training.schedules import Schedules
from saejax.training.step import StepOptions
from tests.sae.contract import SPARSE, SUBJECTS, B, F, context, name_of, planted, rows, truth


@pytest.fixture(params=SUBJECTS, ids=name_of)
def subject(request):
    return request.param


@pytest.fixture(params=[s for s in SUBJECTS if not s.transcoder], ids=name_of)
def autoencoder(request):
    """For what does not depend on whether two sites are read."""
    return request.param


def start(subject):
    return jnp.zeros(subject.width_out)


def test_shapes_and_latent_axes(subject):
    sae = subject.make()
    params, x = sae.init(jax.random.key(0), start(subject)), rows()[0]
    f = sae.encode(params, subject.traced(), x)
    assert f.shape == (B, F) and sae.decode(params, f, x).shape == (B, subject.width_out)
    assert (f >= 0).all()
    for name, value in params.items():
        axis = latent_axis(name, value.ndim)
        assert value.shape[axis] == F if axis is not None else F not in value.shape, name
    assert set(sae.remembered) <= params.keys()


def test_gradients_match_finite_differences(subject):
    """Directional derivatives in float64, at a point where no latent switches within the step.

    What the loss itself holds constant stands still: thresholds, whose gradient is a kernel's, and the gated decoder.
    """
    with jax.enable_x64(True):
        sae = subject.make()
        params = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), sae.init(jax.random.key(1), start(subject)))
        x, hparams = jnp.asarray(rows()[0], jnp.float64), subject.traced()
        still = context()
        fixed = ("threshold", *sae.remembered, *(("W_dec", "b_dec", "W_skip") if subject.architecture == "gated" else ()))

        def direction(name, a):
            return jax.random.normal(jax.random.key(2), a.shape, jnp.float64) * (name not in fixed)

        along_params = {name: direction(name, a) for name, a in params.items()}

        def along(t):
            moved = {name: p + t * along_params[name] for name, p in params.items()}
            return sae.loss(moved, hparams, x, subject.target(x), still)[0]

        step = 1e-7
        numeric = (along(step) - along(-step)) / (2 * step)
        analytic = jax.grad(along)(0.0)
    assert np.isfinite(analytic)
    np.testing.assert_allclose(analytic, numeric, rtol=2e-4)


def test_gradients_are_finite_with_dead_latents_and_empty_rows(subject):
    sae = subject.make()
    params = sae.init(jax.random.key(1), start(subject))
    x = rows()[0].at[0].set(0.0)
    for dead_F in (jnp.zeros(F, bool), jnp.arange(F) < 7, jnp.ones(F, bool)):
        grads, aux = jax.grad(sae.loss, has_aux=True, allow_int=True)(
            params, subject.traced(), x, subject.target(x), context(dead_F)
        )
        assert all(np.isfinite(g).all() for g in jax.tree.leaves((grads, aux.metrics)))


def test_recovers_a_planted_dictionary(subject):
    """Mean over true features of the best cosine with a learnt one (MMCS, Sharkey et al. 2022) above 0.9; the loss falls.

    A transcoder reads the features' sums by one dictionary and is to predict them by another, which it must find.
    """
    written_FxD = truth(seed=5)
    read_FxD = truth(seed=7) if subject.transcoder else written_FxD
    n_steps, width = 1500, 16
    frame = Frame(width, 48, width) if subject.transcoder else Frame(width, 48)
    hparams = subject.hparams(**SPARSE[subject.architecture], learning_rate=3e-3)
    e = ensemble(
        subject.group([hparams], frame=frame, k_max=3),
        StepOptions(Schedules(n_steps, lr_decay_steps=300), dead_window_steps=100),
    )
    keys = jax.random.split(jax.random.key(6), n_steps)
    x, y = jax.vmap(lambda key: planted(key, 256, read_FxD, written_FxD))(keys)
    one = jnp.float32(1.0)
    state, metrics = e.steps(e.init(y[0].mean(0)), Inputs(x, y if subject.transcoder else None, one, one))
    learnt_FxD = unit_rows(e.sae.export(member(state.params, 0), member(e.hparams, 0)).W_dec)
    mmcs = float((written_FxD @ learnt_FxD.T).max(1).mean())
    assert metrics["fvu"][-1, 0] < 0.3 * metrics["fvu"][0, 0]
    assert mmcs > 0.9, mmcs


@functools.cache
def three(subject):
    """An ensemble of three different members, compiled once for all tests that use it: (ensemble, its inputs of 3 steps)."""
    options = StepOptions(Schedules(6, lr_warm_up_steps=2), dead_window_steps=2)
    return subject.ensemble(subject.varied(), options), [subject.inputs(x, 0.7) for x in (rows(6)[:3], rows(6)[3:])]


def run(subject, e, between=lambda state: state):
    """(the parameters at the start, the state after six steps, their metrics)."""
    state = e.init(start(subject))
    begun, metrics = jax.tree.map(np.array, state.params), []
    for inputs in three(subject)[1]:
        state, values = e.steps(between(state), inputs)
        metrics.append(values)
    return begun, state, jax.tree.map(lambda *a: np.concatenate(a), *metrics)


def test_a_member_equals_the_same_autoencoder_trained_alone(autoencoder):
    e = three(autoencoder)[0]
    begun, state, metrics = run(autoencoder, e)
    alone = autoencoder.ensemble(
        [autoencoder.varied()[1]], StepOptions(Schedules(6, lr_warm_up_steps=2), dead_window_steps=2), (1,)
    )
    _, own, own_metrics = run(autoencoder, alone)
    # The slope of `thresholding` changes tenfold at a kink: which side rounding puts a latent on is seen in the next steps.
    loose = 100 if autoencoder.architecture == "thresholding" else 1
    np.testing.assert_allclose(metrics["loss"][:2, 1], own_metrics["loss"][:2, 0], rtol=1e-5)
    np.testing.assert_allclose(metrics["loss"][:, 1], own_metrics["loss"][:, 0], rtol=1e-5 * loose)
    for key, expected in own.params.items():
        np.testing.assert_allclose(state.params[key][1], expected[0], atol=5e-6 * loose**2, err_msg=key)
    # The third member's learning rate is 0: it stays where it was, and the others do not.
    for key in begun.keys() - set(e.sae.remembered):
        np.testing.assert_allclose(state.params[key][2], begun[key][2], atol=1e-7, err_msg=key)
    assert not np.allclose(state.params["W_dec"][0], begun["W_dec"][0], atol=1e-5)
    assert (state.step == 6).all()


def test_a_state_that_went_through_the_host_goes_on_bit_for_bit(autoencoder):
    e = three(autoencoder)[0]
    _, through, _ = run(autoencoder, e, lambda state: jax.tree.map(lambda a: jnp.asarray(np.array(a)), state))
    _, straight, _ = run(autoencoder, e)
    for a, b in zip(jax.tree.leaves(through), jax.tree.leaves(straight)):
        np.testing.assert_array_equal(a, b)


def test_one_compilation_for_any_hyper_parameter_values(autoencoder):
    compiled, sae = [], autoencoder.make()
    params, x = sae.init(jax.random.key(0), start(autoencoder)), rows()[0]

    @jax.jit
    def loss(params, hparams, x):
        compiled.append(autoencoder)
        return sae.loss(params, hparams, x, autoencoder.target(x), context())[0]

    traced = [{n: jnp.asarray(v) for n, v in h.items() if n != "learning_rate"} for h in autoencoder.varied()]
    values = [loss(params, hparams, x) for hparams in traced]
    assert len(compiled) == 1
    assert len({float(v) for v in values}) == 3


@functools.cache
def trained_a_little(subject):
    """(autoencoder, parameters after a few steps, hyper-parameters)."""
    changed = {} if subject.row.divides_k else SPARSE[subject.architecture]
    e = subject.ensemble([subject.hparams(**changed, learning_rate=1e-2)], StepOptions(Schedules(5)))
    state, _ = e.steps(e.init(jnp.full(subject.width_out, 0.1)), subject.inputs(rows(5)))
    return e.sae, member(state.params, 0), subject.traced(**changed)


def test_the_export_computes_the_same_on_raw_rows(subject, close):
    """Encoding s·x in training equals encoding x after export, latents and reconstructions being divided by s and t.

    What chooses among a batch is exported with a threshold for single rows: there the training rule is the threshold's.
    """
    scale, target_scale = 2.5, 1.5 if subject.transcoder else 2.5
    sae, params, hparams = trained_a_little(subject)
    x = rows()[0]
    exported = sae.export(params, hparams)
    f = sae.encode(params, hparams, scale * x)
    if "threshold" in sae.remembered:
        f = exported.encode(scale * x)
        free = {**params, "b_enc": params["b_enc"]}
        everything = {**hparams, "k": jnp.int32(F)}
        positive = sae.encode(free, everything, scale * x)
        np.testing.assert_allclose(f, jnp.where(positive > params["threshold"], positive, 0.0), atol=1e-6)
    raw = exported.for_raw_input(scale, target_scale)
    own_units = subject.architecture == "thresholding"  # its latents are counted in their thresholds
    factor_F = jnp.square(params["scale"]) if own_units else 1 / scale
    close(raw.encode(x) * (factor_F if own_units else 1.0), f * (1.0 if own_units else factor_F), 2e-6, "latents")
    expected = sae.decode(params, f, scale * x) / target_scale
    close(raw.reconstruct(x)[1], expected, 2e-6, "reconstruction")


def test_export_and_import_round_trip(subject, tmp_path):
    sae, params, hparams = trained_a_little(subject)
    exported = sae.export(params, hparams).for_raw_input(1.3)
    saelens.save(tmp_path / "sae", exported, metadata={"hook_name": "site"}, density_F=np.ones(F))
    loaded = saelens.load(tmp_path / "sae")
    x = rows()[0]
    for actual, expected in zip(loaded.reconstruct(x), exported.reconstruct(x)):
        np.testing.assert_array_equal(actual, expected)


def test_bfloat16_products_give_nearly_the_same_loss_and_float32_gradients(autoencoder):
    params, x = autoencoder.make().init(jax.random.key(0), start(autoencoder)), rows()[0]

    def of(dtype):
        loss = autoencoder.make(dtype=dtype).loss
        return jax.jit(jax.value_and_grad(lambda p: loss(p, autoencoder.traced(), x, autoencoder.target(x), context())[0]))(
            params
        )

    (exact, _), (rounded, grads) = of("float32"), of("bfloat16")
    np.testing.assert_allclose(rounded, exact, rtol=5e-2)
    assert rounded != exact
    assert all(g.dtype == jnp.float32 and np.isfinite(g).all() for g in grads.values())


CHECKS = {
    "shapes": test_shapes_and_latent_axes,
    "finite gradients": test_gradients_are_finite_with_dead_latents_and_empty_rows,
    "finite differences": test_gradients_match_finite_differences,
    "planted dictionary": test_recovers_a_planted_dictionary,
    "one compilation": test_one_compilation_for_any_hyper_parameter_values,
    "equals alone": test_a_member_equals_the_same_autoencoder_trained_alone,
    "resume": test_a_state_that_went_through_the_host_goes_on_bit_for_bit,
    "round trip": lambda subject: test_export_and_import_round_trip(subject, Path(tempfile.mkdtemp())),
    "bfloat16": test_bfloat16_products_give_nearly_the_same_loss_and_float32_gradients,
}

if __name__ == "__main__":
    sys.stdout.write("| architecture | " + " | ".join(CHECKS) + " |\n|" + "---|" * (len(CHECKS) + 1) + "\n")
    for each in SUBJECTS:
        cells = []
        for check in CHECKS.values():
            try:
                check(each)
                cells.append("ok")
            except AssertionError as error:
                cells.append(f"FAILS {str(error).split(chr(10))[0]}")
        sys.stdout.write(f"| {name_of(each)} | " + " | ".join(cells) + " |\n")
        sys.stdout.flush()
