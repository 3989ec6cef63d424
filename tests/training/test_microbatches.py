"""A batch in parts: the same gradients where the loss is a mean over rows; the means of the parts' where it is not."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saejax.sae.base import LossContext
from saejax.sae.frame import Frame
from saejax.sae.registry import ARCHITECTURES
from saejax.training.ensemble import Inputs, ensemble
from saejax.training.grid import Group, Member, Sites
from saejax.training.microbatches import value_and_gradients
from saejax.training.schedules import Schedules
from saejax.training.step import StepOptions

D, F, B = 8, 48, 60
CONTEXT = LossContext(jnp.zeros(F, bool), jnp.bool_(False), jnp.int32(3), 10)
CASES = {
    "relu": {"relu_form": "april2024"},
    "gated": {},
    "topk": {"topk_form": "saelens", "k_max": 4},
    "batch_topk": {},
    "p_anneal": {},
}


@pytest.mark.parametrize("architecture", CASES)
def test_gradients_are_the_means_of_the_parts(architecture, close):
    row = ARCHITECTURES[architecture]
    sae = row.make(Frame(D, F), **CASES[architecture])
    params = sae.init(jax.random.key(0), 0.1 * jnp.ones(D))
    hparams = {name: jnp.asarray(4 if name == "k" else value) for name, value in row.hparams.items()}
    x = jax.random.normal(jax.random.key(1), (B, D))

    def loss(params, x, y):
        return sae.loss(params, hparams, x, y, CONTEXT)

    def in_parts(size):
        return jax.jit(lambda params: value_and_gradients(loss, params, x, x, size))(params)

    (value, aux), grads = in_parts(20)
    apart = [jax.value_and_grad(loss, has_aux=True)(params, part, part) for part in x.reshape(3, 20, D)]
    close(value, np.mean([v for (v, _), _ in apart]), 1e-6, "loss")
    np.testing.assert_array_equal(aux.fired_F, np.any([a.fired_F for (_, a), _ in apart], 0))
    for name in grads:
        close(grads[name], np.mean([g[name] for _, g in apart], 0), 1e-5, name)
    if architecture != "batch_topk":
        for name, whole in in_parts(0)[1].items():
            close(grads[name], whole, 1e-5, f"{name}, of the whole batch")


def test_training_in_parts_is_training():
    """Steps of an ensemble with and without parts end in the same parameters, for a loss that is a mean over rows."""
    hparams = [{"l1_coefficient": l1, "bias_decay": 0.0, "learning_rate": 1e-3} for l1 in (0.1, 0.2)]
    made = tuple(Member(f"m{i}", "", own, i) for i, own in enumerate(hparams))
    group = Group("g", Sites("s", D), "relu", Frame(D, F), {}, made)
    x = jax.random.normal(jax.random.key(2), (5, B, D))
    ends = []
    for size in (0, 30):
        e = ensemble(group, StepOptions(Schedules(5), microbatch_size=size))
        state, metrics = e.steps(e.init(jnp.zeros(D)), Inputs(x, None, jnp.float32(1), jnp.float32(1)))
        ends.append((state.params, metrics["loss"]))
    np.testing.assert_allclose(ends[0][1], ends[1][1], rtol=1e-5)
    for name in ends[0][0]:
        np.testing.assert_allclose(ends[0][0][name], ends[1][0][name], atol=3e-5)
