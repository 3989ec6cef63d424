"""Resampling: what a resampled latent becomes, that nothing else changes, and that it revives latents, for every
architecture."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saejax.sae.base import SparseAutoencoder, unit_rows
from saejax.sae.registry import latent_axis
from saejax.training.resample import ENCODER_SHARE, _draw, resample
from saejax.training.schedules import Schedules
from saejax.training.step import StepOptions, TrainState
from tests.sae.contract import SPARSE, SUBJECTS, F, name_of, rows

DEAD = np.arange(F) % 4 == 1


@pytest.mark.parametrize("subject", [s for s in SUBJECTS if not s.transcoder or s.architecture == "jumprelu"], ids=name_of)
def test_only_silent_latents_change_and_only_their_moments(subject):
    e = subject.ensemble([subject.hparams()], StepOptions(Schedules(10)))
    state = e.init(jnp.zeros(subject.width_out))
    moments = jax.tree.map(lambda a: a + 1 if jnp.issubdtype(a.dtype, jnp.floating) else a, state.opt_state)
    state = state._replace(opt_state=moments, steps_since_fired_F=jnp.where(DEAD, 8, 2)[None])
    before = jax.tree.map(np.array, state)
    after, n_made = e.resample(state, subject.inputs(rows(2, seed=4)), 8)
    assert n_made.tolist() == [DEAD.sum()]
    for name, old in before.params.items():
        axis = latent_axis(name, old.ndim - 1)
        new = np.asarray(after.params[name])
        if axis is None:
            np.testing.assert_array_equal(new, old, err_msg=name)
        else:
            living = np.flatnonzero(~DEAD)
            np.testing.assert_array_equal(new.take(living, axis + 1), old.take(living, axis + 1), err_msg=name)
            assert not (new == old).all() or (old == old.flat[0]).all(), name
    for path, old in jax.tree_util.tree_leaves_with_path(before.opt_state):
        new = np.asarray(dict(jax.tree_util.tree_leaves_with_path(after.opt_state))[path])
        axis = latent_axis(path[-1].key, old.ndim - 1) if isinstance(path[-1], jax.tree_util.DictKey) else None
        if axis is None:
            np.testing.assert_array_equal(new, old)
        else:
            np.testing.assert_array_equal(new.take(np.flatnonzero(DEAD), axis + 1), 0.0)
            np.testing.assert_array_equal(new.take(np.flatnonzero(~DEAD), axis + 1), old.take(np.flatnonzero(~DEAD), axis + 1))
    np.testing.assert_array_equal(after.steps_since_fired_F[0], np.where(DEAD, 0, 2))
    norms = np.linalg.norm(after.params["W_dec"][0], axis=-1)
    np.testing.assert_allclose(norms[DEAD], norms[~DEAD].mean(), rtol=1e-5)
    if "W_enc" in after.params:
        norms = np.linalg.norm(after.params["W_enc"][0], axis=0)
        share = 1.0 if "k" in subject.hparams() else ENCODER_SHARE
        np.testing.assert_allclose(norms[DEAD], share * norms[~DEAD].mean(), rtol=1e-5)


def test_directions_are_those_of_badly_reconstructed_inputs():
    """As many rows as there are dead latents are reconstructed far worse than all others: each latent gets another of them."""
    subject = next(s for s in SUBJECTS if s.architecture == "relu")
    e = subject.ensemble([subject.hparams()], StepOptions(Schedules(10)))
    b_dec = jnp.linspace(-0.5, 0.5, subject.width_out)
    state = jax.tree.map(lambda a: a[0], e.init(b_dec))._replace(steps_since_fired_F=jnp.where(DEAD, 8, 2))
    bad = slice(3, 3 + int(DEAD.sum()))
    x = 1e-3 * rows(2).at[1, bad].multiply(1e5) + b_dec
    after, _ = resample(e.sae, state, subject.traced(), x, x, jax.random.key(0), 8)
    directions = np.asarray(unit_rows(x[1, bad] - b_dec))
    for found in (after.params["W_dec"][DEAD], unit_rows(after.params["W_enc"].T)[DEAD]):
        cosines = np.asarray(found) @ directions.T
        np.testing.assert_allclose(cosines.max(1), 1.0, atol=1e-5)
        assert sorted(cosines.argmax(1)) == list(range(len(directions)))
    np.testing.assert_array_equal(after.params["b_enc"][DEAD], 0.0)


def test_a_transcoders_directions_are_of_what_each_side_varies_in():
    subject = next(s for s in SUBJECTS if s.architecture == "relu" and s.transcoder)
    sae = subject.make()
    params = sae.init(jax.random.key(0), jnp.ones(subject.width_out))
    params = {**params, "W_skip": 0.1 * jax.random.normal(jax.random.key(1), params["W_skip"].shape)}
    state = TrainState(jnp.int32(0), params, (), jnp.where(DEAD, 8, 2))
    x = rows(2) + 5.0
    y = subject.target(x)
    after, _ = resample(sae, state, subject.traced(), x, y, jax.random.key(0), 8)
    read = unit_rows((x - x.mean((0, 1))).reshape(-1, x.shape[-1]))
    written = unit_rows((y - 1.0 - x @ params["W_skip"].T).reshape(-1, y.shape[-1]))
    chosen = np.argmax(unit_rows(after.params["W_enc"].T)[DEAD] @ read.T, axis=1)
    np.testing.assert_allclose(unit_rows(after.params["W_enc"].T)[DEAD], read[chosen], atol=1e-5)
    np.testing.assert_allclose(unit_rows(after.params["W_dec"])[DEAD], written[chosen], atol=1e-5)


def test_draws_are_in_proportion_and_never_twice():
    weights = jnp.float32([8.0, 4.0, 2.0, 1.0, 1.0, 0.0])
    dead = jnp.array([False, True, True])
    drawn = np.asarray(jax.vmap(lambda key: _draw(key, weights, dead))(jax.random.split(jax.random.key(0), 20_000)))
    assert (drawn[:, 1] != drawn[:, 2]).all() and not (drawn == 5).any()
    np.testing.assert_allclose(np.bincount(drawn[:, 1], minlength=6) / 20_000, weights / 16, atol=0.015)


def test_inputs_are_chosen_in_proportion_to_their_squared_losses():
    """Rows of three losses, many latents: the shares are those of the squares, 1 : 4 : 16 for squared errors 1, 2, 4."""
    n = 30_000
    sae = SparseAutoencoder(
        init=lambda key, b: {"W_dec": jnp.zeros((n, 3))},
        encode=lambda params, hparams, x: jnp.zeros((len(x), n)),
        decode=lambda params, f, x: jnp.zeros_like(x),
        loss=None,
        export=None,
    )
    state = TrainState(jnp.int32(0), {"W_dec": jnp.ones((n, 3))}, (), jnp.full(n, 9))
    x = jnp.diag(jnp.sqrt(jnp.float32([1.0, 2.0, 4.0])))[None]
    after, _ = resample(sae, state, {}, x, x, jax.random.key(1), 9)
    shares = np.mean(np.asarray(after.params["W_dec"]) > 0, axis=0)
    np.testing.assert_allclose(shares, np.array([1, 4, 16]) / 21, atol=0.01)


@pytest.mark.parametrize("architecture", ["relu", "jumprelu", "topk", "batch_topk"])
def test_resampled_latents_fire_again(architecture):
    """Latents that point away from all rows are silent; made anew they fire, those that compete for k places as well."""
    subject = next(s for s in SUBJECTS if s.architecture == architecture and not s.transcoder)
    e = subject.ensemble([subject.hparams(**SPARSE[architecture])], StepOptions(Schedules(50)))
    x = jnp.abs(rows(6)) + 0.1
    state = e.init(jnp.zeros(subject.width_out))
    away = {
        name: jnp.moveaxis(value, latent_axis(name, value.ndim - 1) + 1, 1)
        for name, value in state.params.items()
        if name in ("W_enc", "W_dec")
    }
    away = {name: jnp.where(DEAD[None, :, None], -jnp.abs(value) - 0.1, jnp.abs(value)) for name, value in away.items()}
    away = {name: jnp.moveaxis(value, 1, latent_axis(name, value.ndim - 1) + 1) for name, value in away.items()}
    state = state._replace(params={**state.params, **away})
    state, _ = e.steps(state, subject.inputs(x))
    assert (np.asarray(state.steps_since_fired_F[0])[DEAD] == 6).all()
    state, n_made = e.resample(state, subject.inputs(x), 6)
    assert n_made[0] >= DEAD.sum()
    state, _ = e.steps(state, subject.inputs(x))
    assert (np.asarray(state.steps_since_fired_F[0])[DEAD] < 6).mean() > 0.5
