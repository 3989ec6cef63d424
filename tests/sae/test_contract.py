"""What every architecture in the registry must do; a new one gets all of it by its row.

`python tests/sae/test_contract.py` prints the table of architectures and checks.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from contract import SPARSE, SUBJECTS, B, F, context, name_of, planted, rows, truth

from saejax.interop import saelens
from saejax.sae.base import unit_rows
from saejax.sae.frame import Frame
from saejax.sae.registry import latent_axis
from saejax.training.ensemble import Inputs, ensemble, member
from saejax.training.optimizers import NAMES, Optimizer
from saejax.training.schedules import Schedules
from saejax.training.step import StepOptions


@pytest.fixture(params=SUBJECTS, ids=name_of)
def subject(request):
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
    """Directional derivatives in float64, at a point where no latent switches within the step; thresholds stand still."""
    with jax.enable_x64(True):
        sae = subject.make()
        params = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), sae.init(jax.random.key(1), start(subject)))
        x, hparams = jnp.asarray(rows()[0], jnp.float64), subject.traced()
        still = context()._replace(dead_F=jnp.arange(F) < 5)
        fixed = ("threshold", *sae.remembered)

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


def test_a_member_equals_the_same_autoencoder_trained_alone(subject):
    members, options = subject.varied(), StepOptions(Schedules(6, lr_warm_up_steps=2), dead_window_steps=2)
    inputs = subject.inputs(rows(6), 0.7)
    together = subject.ensemble(members, options)
    state, metrics = together.steps(together.init(start(subject)), inputs)
    for i, one in enumerate(members):
        alone = subject.ensemble([one], options, seeds=(i,))
        own, own_metrics = alone.steps(alone.init(start(subject)), inputs)
        np.testing.assert_allclose(metrics["loss"][:, i], own_metrics["loss"][:, 0], rtol=1e-5)
        for key, expected in own.params.items():
            np.testing.assert_allclose(state.params[key][i], expected[0], atol=5e-6, err_msg=key)


def test_a_learning_rate_of_zero_changes_nothing_that_is_trained(subject):
    e = subject.ensemble([subject.hparams(learning_rate=0.0)], StepOptions(Schedules(3)))
    before = e.init(start(subject))
    begun = jax.tree.map(np.array, before.params)
    after, _ = e.steps(before, subject.inputs(rows(3)))
    for key in begun.keys() - set(e.sae.remembered):
        np.testing.assert_allclose(after.params[key], begun[key], atol=1e-7)
    assert (after.step == 3).all()


def test_one_compilation_for_any_hyper_parameter_values(subject):
    compiled, sae = [], subject.make()
    params, x = sae.init(jax.random.key(0), start(subject)), rows()[0]

    @jax.jit
    def loss(params, hparams, x):
        compiled.append(subject)
        return sae.loss(params, hparams, x, subject.target(x), context())[0]

    traced = [{n: jnp.asarray(v) for n, v in h.items() if n != "learning_rate"} for h in subject.varied()]
    values = [loss(params, hparams, x) for hparams in traced]
    assert len(compiled) == 1
    assert len({float(v) for v in values}) == 3


def test_a_state_that_went_through_the_host_goes_on_bit_for_bit(subject):
    e = subject.ensemble(subject.varied()[:2], StepOptions(Schedules(8)))
    x = rows(8)
    state = e.init(start(subject))
    for part in (x[:4], x[4:]):
        state, _ = e.steps(jax.tree.map(lambda a: jnp.asarray(np.array(a)), state), subject.inputs(part))
    again = e.init(start(subject))
    for part in (x[:4], x[4:]):
        again, _ = e.steps(again, subject.inputs(part))
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(again)):
        np.testing.assert_array_equal(a, b)


def trained_a_little(subject):
    """(autoencoder, parameters after a few steps, hyper-parameters)."""
    hparams = subject.hparams(**SPARSE[subject.architecture])
    e = subject.ensemble([{**hparams, "learning_rate": 1e-2}], StepOptions(Schedules(5)))
    state, _ = e.steps(e.init(jnp.full(subject.width_out, 0.1)), subject.inputs(rows(5)))
    return e.sae, member(state.params, 0), subject.traced(**SPARSE[subject.architecture])


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


def test_bfloat16_products_give_nearly_the_same_loss_and_float32_parameters(subject):
    hparams, options = subject.hparams(), StepOptions(Schedules(3))
    exact = subject.ensemble([hparams], options)
    rounded = ensemble(subject.group([hparams], frame=subject.frame()._replace(dtype="bfloat16")), options)
    results = [e.steps(e.init(start(subject)), subject.inputs(rows(3))) for e in (exact, rounded)]
    np.testing.assert_allclose(results[1][1]["loss"], results[0][1]["loss"], rtol=5e-2)
    assert {a.dtype for a in results[1][0].params.values()} == {jnp.dtype("float32")}
    assert (results[1][1]["loss"] != results[0][1]["loss"]).any()


@pytest.mark.parametrize("optimizer", NAMES)
def test_every_optimizer_lowers_the_loss(subject, optimizer):
    if optimizer == "adam" or subject.architecture not in ("relu", "jumprelu", "batch_topk"):
        pytest.skip("one architecture of each kind; adam is what all other tests use")
    rate = {"signum": 3e-3, "muon": 3e-2}.get(optimizer, 1e-2)
    n_steps = 60
    x = jnp.tile(rows(), (n_steps, 1, 1))
    e = subject.ensemble(
        [subject.hparams(learning_rate=rate)], StepOptions(Schedules(n_steps), Optimizer(optimizer, weight_decay=0.01))
    )
    state, metrics = e.steps(e.init(start(subject)), subject.inputs(x))
    assert metrics["mse"][-1, 0] < 0.8 * metrics["mse"][0, 0]
    assert all(np.isfinite(a).all() for a in state.params.values())


CHECKS = {
    "shapes": test_shapes_and_latent_axes,
    "finite gradients": test_gradients_are_finite_with_dead_latents_and_empty_rows,
    "finite differences": test_gradients_match_finite_differences,
    "planted dictionary": test_recovers_a_planted_dictionary,
    "one compilation": test_one_compilation_for_any_hyper_parameter_values,
    "equals alone": test_a_member_equals_the_same_autoencoder_trained_alone,
    "resume": test_a_state_that_went_through_the_host_goes_on_bit_for_bit,
    "round trip": lambda subject: test_export_and_import_round_trip(subject, Path(tempfile.mkdtemp())),
    "bfloat16": test_bfloat16_products_give_nearly_the_same_loss_and_float32_parameters,
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
