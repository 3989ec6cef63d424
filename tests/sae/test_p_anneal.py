"""p's steps and the coefficient's adaptation against dictionary_learning's trainer, written out in NumPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saejax.sae.base import LossContext
from saejax.sae.frame import Frame
from saejax.sae.p_anneal import N_UPDATES, QUEUE, p_anneal
from tests.sae.contract import D, F

N_STEPS, START, P_END = 140, 35, 0.3


def batch(step):
    return jax.random.normal(jax.random.key(step), (32, D))


def lp(f_BxF, p, function):
    sums = np.where(f_BxF > 0, np.where(f_BxF > 0, f_BxF, 1.0) ** p, 0.0).sum(-1)
    return (sums if function == "Lp^p" else sums ** (1 / p)).mean()


def peer(latents, function):
    """PAnnealTrainer.loss's bookkeeping: (p, sparsity_coeff) in force at each step."""
    steps = np.linspace(START, N_STEPS, N_UPDATES).astype(int)
    values = np.linspace(1.0, P_END, N_UPDATES)
    p, next_p, coefficient, queue, count, history = 1.0, None, 0.5, [], 0, []
    for step, f_BxF in enumerate(latents):
        history.append((p, coefficient))
        if next_p is not None:
            queue = [*queue, (lp(f_BxF, p, function), lp(f_BxF, next_p, function))][-QUEUE:]
        if step in steps and step >= steps[count]:
            if next_p is not None:
                now, coming = np.mean(queue, axis=0)
                coefficient *= now / coming
            p = values[count]
            next_p = values[count + 1] if count < N_UPDATES - 1 else P_END
            count += 1
    return np.array(history)


@pytest.mark.parametrize("function", ["Lp^p", "Lp"])
def test_p_and_its_coefficient_are_the_peers(function):
    sae = p_anneal(Frame(D, F), lp_function=function)
    params = sae.init(jax.random.key(0), jnp.zeros(D))
    values = {"l1_coefficient": 0.5, "p_start": 1.0, "p_end": P_END, "anneal_start": START / N_STEPS}
    hparams = {name: jnp.float32(value) for name, value in values.items()}

    @jax.jit
    def one(params, step, x_BxD):
        context = LossContext(jnp.zeros(F, bool), jnp.bool_(False), step, N_STEPS)
        _, aux = sae.loss(params, hparams, x_BxD, x_BxD, context)
        return sae.after_update(params, params, aux.observed, context), aux.metrics

    ours, latents = [], []
    for step in range(N_STEPS):
        latents.append(np.asarray(sae.encode(params, hparams, batch(step)), np.float64))
        after, metrics = one(params, step, batch(step))
        ours.append((metrics["p"], metrics["lp_loss"] / metrics["lp"]))
        # The autoencoder stands still; what it remembers goes on.
        params = {**params, **{name: after[name] for name in sae.remembered}}
    np.testing.assert_allclose(ours, peer(latents, function), rtol=2e-4)
    assert len({round(float(p), 4) for p, _ in ours}) == N_UPDATES - 1
