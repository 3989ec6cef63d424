"""Every optimizer lowers the loss of one architecture of each kind; moments are reset where they should be and nowhere else."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saejax.sae.frame import Frame
from saejax.sae.registry import ARCHITECTURES
from saejax.training.ensemble import Inputs, ensemble
from saejax.training.grid import Group, Member, Sites
from saejax.training.optimizers import NAMES, Optimizer, reset
from saejax.training.schedules import Schedules
from saejax.training.step import StepOptions

RATES = {"adam": 1e-2, "adamw": 1e-2, "signum": 3e-3, "muon": 3e-2, "adafactor": 1e-2}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("architecture", ["jumprelu", "batch_topk"])
def test_every_optimizer_lowers_the_loss(name, architecture):
    row, n_steps = ARCHITECTURES[architecture], 60
    made = Member("m", "m", {**row.hparams, "learning_rate": RATES[name]}, 0)
    group = Group("group", Sites("site", 12), architecture, Frame(12, 40), dict(row.options), (made,))
    e = ensemble(group, StepOptions(Schedules(n_steps), Optimizer(name, weight_decay=0.01)))
    x = jnp.tile(jax.random.normal(jax.random.key(0), (1, 96, 12)), (n_steps, 1, 1))
    state, metrics = e.steps(e.init(jnp.zeros(12)), Inputs(x, None, jnp.float32(1), jnp.float32(1)))
    assert metrics["mse"][-1, 0] < 0.8 * metrics["mse"][0, 0]
    assert all(np.isfinite(a).all() for a in state.params.values())


def test_adamw_decays_and_signum_takes_steps_of_one_size():
    params, grads = {"a": jnp.float32([2.0, -3.0])}, {"a": jnp.float32([1e-3, -5.0])}
    adam, adamw, signum = (
        o.transformation().update(grads, o.transformation().init(params), params)[0]["a"]
        for o in (Optimizer("adam"), Optimizer("adamw", weight_decay=0.1), Optimizer("signum"))
    )
    np.testing.assert_allclose(adamw - adam, -0.1 * params["a"], rtol=1e-5)
    np.testing.assert_array_equal(signum, [-1.0, 1.0])


@pytest.mark.parametrize("name", NAMES)
def test_only_marked_entries_lose_their_moments(name):
    params = {"W": jnp.ones((6, 130 * 2)), "b": jnp.ones(5)}
    optimizer = Optimizer(name, gradient_clip=1.0).transformation()
    state = optimizer.init(params)
    for key in jax.random.split(jax.random.key(0), 3):
        grads = {name: jax.random.normal(key, a.shape) for name, a in params.items()}
        _, state = optimizer.update(grads, state, params)
    marks = {"W": jnp.zeros(params["W"].shape, bool).at[:, 7].set(True), "b": jnp.arange(5) == 2}
    after = reset(state, marks)
    pairs = list(zip(jax.tree.leaves(state), jax.tree.leaves(after)))
    n_changed = 0
    for old, new in pairs:
        if old.shape == (6, 260):
            np.testing.assert_array_equal(new[:, 7], 0.0)
            np.testing.assert_array_equal(np.delete(new, 7, 1), np.delete(old, 7, 1))
        elif old.shape == (5,):
            np.testing.assert_array_equal(new, np.where(np.arange(5) == 2, 0.0, old))
        else:
            np.testing.assert_array_equal(new, old)
        n_changed += not np.array_equal(old, new)
    assert n_changed >= (1 if name in ("signum", "adafactor") else 2)


def test_adafactors_factored_moments_over_latents_are_reset():
    params = {"W": jnp.ones((130, 260))}
    optimizer = Optimizer("adafactor").transformation()
    _, state = optimizer.update({"W": jnp.ones((130, 260))}, optimizer.init(params), params)
    after = reset(state, {"W": jnp.zeros((130, 260), bool).at[:, 7].set(True)})
    factored = [(old, new) for old, new in zip(jax.tree.leaves(state), jax.tree.leaves(after)) if old.shape == (260,)]
    assert factored
    for old, new in factored:
        assert new[7] == 0.0 and (np.delete(new, 7) == np.delete(old, 7)).all() and old[7] != 0.0
