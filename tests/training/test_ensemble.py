"""Members one after the other and all at once are the same members."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from saejax.sae.frame import Frame
from saejax.sae.platform import platform
from saejax.training import ensemble as ensemble_lib
from saejax.training.ensemble import Inputs, ensemble
from saejax.training.grid import Group, Member, Sites
from saejax.training.optimizers import Optimizer
from saejax.training.schedules import Schedules
from saejax.training.step import StepOptions

D, F, B, S = 8, 48, 40, 6
HPARAMS = {
    "relu": [{"l1_coefficient": l1, "bias_decay": 0.0} for l1 in (0.1, 0.2, 0.4)],
    "topk": [{"k": k, "auxk_coefficient": 0.1} for k in (2, 3, 5)],
}


@pytest.mark.parametrize("architecture", HPARAMS)
def test_one_by_one_is_all_at_once(architecture, monkeypatch, close):
    """Dead latents among them, in some members only: losses, metrics and parameters, and which way the shapes choose."""
    own = [{**hparams, "learning_rate": 1e-2} for hparams in HPARAMS[architecture]]
    group = Group(
        "g", Sites("s", D), architecture, Frame(D, F), {}, tuple(Member(f"m{i}", "", h, i) for i, h in enumerate(own))
    )
    options = StepOptions(Schedules(S), Optimizer(gradient_clip=1.0), dead_window_steps=1)
    x = jax.random.normal(jax.random.key(2), (S, B, D))

    def trained(is_one_by_one: bool):
        asked = []
        made = platform()._replace(one_by_one=lambda n_rows, width: asked.append((n_rows, width)) or is_one_by_one)
        monkeypatch.setattr(ensemble_lib, "platform", lambda: made)
        members = ensemble(group, options)
        state = members.init(jnp.zeros(D))
        inputs = Inputs(x, None, jnp.float32(1.0), jnp.float32(1.0))
        result = members.steps(state, inputs)
        assert set(asked) == {(B, D)}
        return result

    (state, metrics), (expected, expected_metrics) = trained(True), trained(False)
    assert 0 < metrics["dead_fraction"].max() or architecture == "relu"
    for name, values in expected_metrics.items():
        close(metrics[name], values, 2e-5, name)
    for name, values in expected.params.items():
        close(state.params[name], values, 1e-4, name)
    assert (state.steps_since_fired_F == expected.steps_since_fired_F).all()


def test_a_cpu_takes_members_one_by_one_where_rows_are_many_beside_their_width():
    if jax.default_backend() != "cpu":
        pytest.skip("the bound that was measured on a CPU")
    assert platform().one_by_one(1024, 128) and not platform().one_by_one(1024, 768)
