"""What every architecture in the registry must do; a new one gets all of it by its row."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saejax.sae.base import LossContext, unit_rows
from saejax.sae.registry import ARCHITECTURES
from saejax.training.ensemble import ensemble, member
from saejax.training.grid import Group, Member
from saejax.training.schedules import Schedules
from saejax.training.step import StepOptions

D, F, B = 12, 40, 96
# For each architecture, the hyper-parameters under which a planted dictionary is learnt, at its loss's scale.
SPARSE = {"relu": {"l1_coefficient": 0.3}, "tied": {"l1_coefficient": 0.02}, "topk": {"k": 3}}


def hparams_of(name, **changed):
    return {**ARCHITECTURES[name].hparams, **changed}


def group_of(name, members, d_in=D, d_sae=F):
    made = tuple(Member(f"m{i}", f"m{i}", {"learning_rate": 1e-3, **h}, seed) for i, (h, seed) in enumerate(members))
    return Group(name, "site", name, d_in, d_sae, dict(ARCHITECTURES[name].options), made)


def rows(n_steps=1, seed=0):
    return jax.random.normal(jax.random.key(seed), (n_steps, B, D))


def traced(hparams):
    return {name: jnp.asarray(value) for name, value in hparams.items()}


@pytest.fixture(params=ARCHITECTURES)
def name(request):
    return request.param


def test_shapes_and_latent_axes(name):
    sae = ARCHITECTURES[name].make(D, F)
    params = sae.init(jax.random.key(0), jnp.zeros(D))
    f = sae.encode(params, traced(hparams_of(name)), rows()[0])
    assert f.shape == (B, F) and sae.decode(params, f).shape == (B, D)
    assert (f >= 0).all()
    assert params.keys() == ARCHITECTURES[name].latent_axes.keys()
    for key, axis in ARCHITECTURES[name].latent_axes.items():
        assert params[key].shape[axis] == F if axis is not None else F not in params[key].shape


def test_gradients_are_finite_and_match_finite_differences(name):
    """Directional derivatives in float64, at a point where no latent switches within the step."""
    with jax.enable_x64(True):
        sae = ARCHITECTURES[name].make(D, F)
        params = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), sae.init(jax.random.key(1), jnp.zeros(D)))
        x, hparams = jnp.asarray(rows()[0], jnp.float64), traced(hparams_of(name))
        dead_F = jnp.arange(F) < 5
        context = LossContext(dead_F, jnp.bool_(False), jnp.float64(1.0))
        direction = jax.tree.map(lambda a: jax.random.normal(jax.random.key(2), a.shape, jnp.float64), params)

        def along(t):
            return sae.loss(jax.tree.map(lambda p, d: p + t * d, params, direction), hparams, x, context)[0]

        step = 1e-7
        numeric = (along(step) - along(-step)) / (2 * step)
        analytic = jax.grad(along)(0.0)
    assert np.isfinite(analytic)
    np.testing.assert_allclose(analytic, numeric, rtol=2e-4)


def test_dead_latents_do_not_spoil_gradients(name):
    sae = ARCHITECTURES[name].make(D, F)
    params = sae.init(jax.random.key(1), jnp.zeros(D))
    for dead_F in (jnp.zeros(F, bool), jnp.arange(F) < 7, jnp.ones(F, bool)):
        context = LossContext(dead_F, dead_F.any(), jnp.float32(1.0))
        grads, aux = jax.grad(sae.loss, has_aux=True)(params, traced(hparams_of(name)), rows()[0], context)
        assert all(np.isfinite(g).all() for g in jax.tree.leaves((grads, aux.metrics)))


def planted(key, n, truth_FxD, active=3):
    """Rows that are sums of a few of the true features, with positive weights."""
    choose, weigh = jax.random.split(key)
    scores = jax.random.uniform(choose, (n, len(truth_FxD)))
    chosen = scores >= jnp.sort(scores, axis=-1)[:, -active, None]
    return jnp.where(chosen, jax.random.uniform(weigh, scores.shape, minval=0.5, maxval=1.5), 0.0) @ truth_FxD


def test_recovers_a_planted_dictionary(name):
    """Mean over true features of the best cosine with a learnt one (MMCS, Sharkey et al. 2022) above 0.9; the loss falls."""
    truth_FxD = unit_rows(jax.random.normal(jax.random.key(5), (24, 16)))
    n_steps = 1500
    e = ensemble(
        group_of(name, [(hparams_of(name, **SPARSE[name], learning_rate=3e-3), 0)], 16, 48),
        StepOptions(Schedules(n_steps, lr_decay_steps=300), dead_window_steps=100),
    )
    keys = jax.random.split(jax.random.key(6), n_steps)
    x = jax.vmap(lambda key: planted(key, 256, truth_FxD))(keys)
    state, metrics = e.steps(e.init(x[0].mean(0)), x, jnp.float32(1.0))
    learnt_FxD = unit_rows(e.sae.export(member(state.params, 0), member(e.hparams, 0)).W_dec)
    mmcs = float((truth_FxD @ learnt_FxD.T).max(1).mean())
    assert metrics["fvu"][-1, 0] < 0.2 * metrics["fvu"][0, 0]
    assert mmcs > 0.9, mmcs


def test_a_member_equals_the_same_autoencoder_trained_alone(name):
    members = [(hparams_of(name, **{first: value}, learning_rate=rate), seed) for first, value, rate, seed in varied(name)]
    options = StepOptions(Schedules(6, lr_warm_up_steps=2), dead_window_steps=2)
    x = rows(6)
    together = ensemble(group_of(name, members), options)
    state, metrics = together.steps(together.init(jnp.zeros(D)), x, jnp.float32(0.7))
    for i, one in enumerate(members):
        alone = ensemble(group_of(name, [one]), options)
        own, own_metrics = alone.steps(alone.init(jnp.zeros(D)), x, jnp.float32(0.7))
        np.testing.assert_allclose(metrics["loss"][:, i], own_metrics["loss"][:, 0], rtol=1e-5)
        for key, expected in own.params.items():
            np.testing.assert_allclose(state.params[key][i], expected[0], atol=2e-6, err_msg=key)


def varied(name):
    first, default = next(iter(ARCHITECTURES[name].hparams.items()))
    values = [3, 7, 11] if first == "k" else [0.0, default, 2 * default]
    return [(first, value, rate, seed) for value, rate, seed in zip(values, (1e-3, 3e-3, 0.0), (0, 1, 2))]


def test_a_learning_rate_of_zero_changes_nothing(name):
    e = ensemble(group_of(name, [(hparams_of(name, learning_rate=0.0), 0)]), StepOptions(Schedules(3)))
    before = e.init(jnp.zeros(D))
    start = jax.tree.map(np.array, before.params)
    after, _ = e.steps(before, rows(3), jnp.float32(1.0))
    for key, value in after.params.items():
        np.testing.assert_allclose(value, start[key], atol=1e-7)
    assert (after.step == 3).all()


def test_one_compilation_for_any_hyper_parameter_values(name):
    compiled = []
    make = ARCHITECTURES[name].make(D, F)
    params = make.init(jax.random.key(0), jnp.zeros(D))
    context = LossContext(jnp.zeros(F, bool), jnp.bool_(False), jnp.float32(1.0))

    @jax.jit
    def loss(params, hparams, x):
        compiled.append(name)
        return make.loss(params, hparams, x, context)[0]

    values = [loss(params, traced(hparams_of(name, **{first: value})), rows()[0]) for first, value, *_ in varied(name)]
    assert len(compiled) == 1
    assert len({float(v) for v in values}) == 3


def test_a_state_that_went_through_the_host_goes_on_bit_for_bit(name):
    e = ensemble(group_of(name, [(hparams_of(name), 0), (hparams_of(name, learning_rate=2e-3), 1)]), StepOptions(Schedules(8)))
    x = rows(8)
    state = e.init(jnp.zeros(D))
    for part in (x[:4], x[4:]):
        state, _ = e.steps(jax.tree.map(lambda a: jnp.asarray(np.array(a)), state), part, jnp.float32(1.0))
    again = e.init(jnp.zeros(D))
    for part in (x[:4], x[4:]):
        again, _ = e.steps(again, part, jnp.float32(1.0))
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(again)):
        np.testing.assert_array_equal(a, b)


def test_the_export_computes_the_same_on_raw_rows(name, close):
    """Encoding s·x in training equals encoding x after export, latents and reconstructions being divided by s."""
    scale, hparams = 2.5, traced(hparams_of(name, **SPARSE[name]))
    sae = ARCHITECTURES[name].make(D, F)
    params = sae.init(jax.random.key(3), jnp.full(D, 0.1))
    params = {**params, "b_enc": 0.1 * jax.random.normal(jax.random.key(4), (F,))}
    params = sae.after_update(params)
    x = rows()[0]
    f = sae.encode(params, hparams, scale * x)
    exported = sae.export(params, hparams).for_raw_input(scale)
    close(exported.encode(x), f / scale, 1e-6, "latents")
    close(exported.decode(exported.encode(x)), sae.decode(params, f) / scale, 1e-6, "reconstruction")


def test_bfloat16_rows_give_nearly_the_same_loss(name):
    e = ensemble(group_of(name, [(hparams_of(name), 0)]), StepOptions(Schedules(2)))
    x = rows(2)
    _, exact = e.steps(e.init(jnp.zeros(D)), x, jnp.float32(1.0))
    _, rounded = e.steps(e.init(jnp.zeros(D)), x.astype(jnp.bfloat16), jnp.float32(1.0))
    np.testing.assert_allclose(rounded["loss"], exact["loss"], rtol=2e-2)
