"""Matching pursuit against a loop in NumPy and against SAELens's own, values and gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saejax.sae.base import unit_rows
from saejax.sae.pursuit import matching_pursuit

B, D, F = 20, 12, 30


@pytest.fixture(scope="module")
def case():
    x_BxD = jax.random.normal(jax.random.key(0), (B, D))
    return x_BxD, unit_rows(jax.random.normal(jax.random.key(1), (F, D)))


def by_hand(x_BxD, W_FxD, k, threshold):
    """One row after the other, in float64."""
    f_BxF = np.zeros((len(x_BxD), len(W_FxD)))
    for f_F, x_D in zip(f_BxF, np.asarray(x_BxD, np.float64)):
        residual_D = x_D.copy()
        for _ in range(k):
            products_F = np.asarray(W_FxD, np.float64) @ residual_D
            best = products_F.argmax()
            again = f_F[best] > 0 or products_F[best] <= 0
            step = max(products_F[best], 0.0)
            f_F[best] += step
            residual_D -= step * np.asarray(W_FxD, np.float64)[best]
            if again or np.linalg.norm(residual_D) < threshold:
                break
    return f_BxF


@pytest.mark.parametrize(("k", "threshold"), [(1, 0.0), (5, 0.0), (12, 0.0), (12, 1.5)])
def test_agrees_with_a_loop(case, k, threshold, close):
    x_BxD, W_FxD = case
    run = jax.jit(lambda k, t: matching_pursuit(x_BxD, W_FxD, k=k, residual_threshold=t, k_max=12))
    f_BxF = run(jnp.int32(k), jnp.float32(threshold))
    close(f_BxF, by_hand(x_BxD, W_FxD, k, threshold), 1e-5, "latents")
    assert (np.count_nonzero(f_BxF, axis=1) <= k).all()


@pytest.mark.parametrize("threshold", [0.0, 1.5])
def test_agrees_with_saelens_values_and_gradients(case, threshold, close):
    import torch
    from sae_lens.saes.matching_pursuit_sae import _encode_matching_pursuit

    x_BxD, W_FxD = case
    weights_BxF = jax.random.normal(jax.random.key(2), (B, F))
    stop = {"k": jnp.int32(6), "residual_threshold": jnp.float32(threshold), "k_max": 6}

    def ours(x, W):
        return jnp.sum(matching_pursuit(x, W, **stop) * weights_BxF)

    x, W = (torch.tensor(np.asarray(a), requires_grad=True) for a in (x_BxD, W_FxD))
    f = _encode_matching_pursuit(x, W, threshold, max_iterations=6, stop_on_duplicate_support=True)
    (f * torch.tensor(np.asarray(weights_BxF))).sum().backward()
    close(matching_pursuit(x_BxD, W_FxD, **stop), f.detach().numpy(), 1e-5, "latents")
    to_x, to_W = jax.grad(ours, argnums=(0, 1))(x_BxD, W_FxD)
    close(to_x, x.grad.numpy(), 1e-5, "gradient to the rows")
    close(to_W, W.grad.numpy(), 1e-5, "gradient to the dictionary")
