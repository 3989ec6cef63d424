"""The mathematics that architectures share, against NumPy in float64."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from saejax.sae.base import directions, unit_rows


def test_what_is_made_of_directions_has_the_gradient_of_unit_rows(close):
    """For members under `vmap`: y = (f scale) @ W, whose gradient to W is (I − u uᵀ) fᵀ g / ‖w‖."""
    f, W, g = (jax.random.normal(jax.random.key(i), s) for i, s in enumerate([(3, 20, 7), (3, 7, 5), (3, 20, 5)]))

    def scaled(W, f):
        rows_FxD, scale_F = directions(W)
        return (f * scale_F) @ rows_FxD

    def gradients(function):
        return jax.jit(jax.vmap(lambda W, f, g: jax.grad(lambda W, f: jnp.sum(g * function(W, f)), (0, 1))(W, f)))(W, f, g)

    float64 = [np.asarray(a, np.float64) for a in (f, W, g)]
    for m, (f_m, W_m, g_m) in enumerate(zip(*float64)):
        norm = np.linalg.norm(W_m, axis=1, keepdims=True)
        unit, outer = W_m / norm, f_m.T @ g_m
        expected = (outer - (outer * unit).sum(1, keepdims=True) * unit) / norm, g_m @ unit.T
        close(scaled(W[m], f[m]), f_m @ unit, 1e-6, "value")
        for function in (scaled, lambda W, f: f @ unit_rows(W)):
            for name, got, wanted in zip(("W", "f"), gradients(function), expected):
                close(got[m], wanted, 1e-5, f"gradient to {name} of member {m}")


def test_directions_of_rows_without_a_norm_are_finite():
    rows, scale = directions(jnp.zeros((2, 3)))
    gradient = jax.grad(lambda W: jnp.sum(directions(W)[0] * directions(W)[1][:, None]))(jnp.zeros((2, 3)))
    assert np.isfinite(gradient).all() and (rows == 0).all() and np.isfinite(scale).all()
