"""Resampling: what a resampled latent becomes, that nothing else changes, and that it revives latents, for every
architecture."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saejax.sae.base import unit_rows
from saejax.sae.registry import latent_axis
from saejax.training.resample import ENCODER_SHARE, resample
from saejax.training.schedules import Schedules
from saejax.training.step import StepOptions
from tests.sae.contract import SUBJECTS, F, name_of, rows

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
        np.testing.assert_allclose(norms[DEAD], ENCODER_SHARE * norms[~DEAD].mean(), rtol=1e-5)


def test_directions_are_those_of_badly_reconstructed_inputs():
    """One row is reconstructed far worse than all others: the square of its loss leaves the others no chance."""
    subject = next(s for s in SUBJECTS if s.architecture == "relu")
    e = subject.ensemble([subject.hparams()], StepOptions(Schedules(10)))
    b_dec = jnp.linspace(-0.5, 0.5, subject.width_out)
    state = jax.tree.map(lambda a: a[0], e.init(b_dec))._replace(steps_since_fired_F=jnp.where(DEAD, 8, 2))
    x = 1e-3 * rows(2).at[1, 5].multiply(1e5) + b_dec
    after, _ = resample(e.sae, state, subject.traced(), x, x, jax.random.key(0), 8)
    direction = np.asarray(unit_rows((x[1, 5] - b_dec)[None])[0])
    np.testing.assert_allclose(after.params["W_dec"][DEAD], np.tile(direction, (DEAD.sum(), 1)), atol=1e-5)
    np.testing.assert_allclose(unit_rows(after.params["W_enc"].T)[DEAD], np.tile(direction, (DEAD.sum(), 1)), atol=1e-5)
    np.testing.assert_array_equal(after.params["b_enc"][DEAD], 0.0)


def test_inputs_are_chosen_in_proportion_to_their_squared_losses():
    """Rows of three losses, many latents: the shares are those of the squares, 1 : 4 : 16 for squared errors 1, 2, 4."""
    from saejax.sae.base import SparseAutoencoder
    from saejax.training.step import TrainState

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


def test_resampled_latents_fire_again():
    subject = next(s for s in SUBJECTS if s.architecture == "relu")
    e = subject.ensemble([subject.hparams(l1_coefficient=0.05)], StepOptions(Schedules(50)))
    state = e.init(jnp.zeros(subject.width_out))
    state = state._replace(params={**state.params, "b_enc": jnp.where(DEAD, -50.0, 0.0)[None]})
    state, _ = e.steps(state, subject.inputs(rows(6)))
    assert (np.asarray(state.steps_since_fired_F[0])[DEAD] == 6).all()
    state, n_made = e.resample(state, subject.inputs(rows(2, seed=9)), 6)
    assert n_made[0] == DEAD.sum()
    state, _ = e.steps(state, subject.inputs(rows(6)))
    assert (np.asarray(state.steps_since_fired_F[0])[DEAD] < 6).all()
