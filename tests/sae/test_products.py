"""Products in bfloat16: operands are rounded, sums are not; gradients likewise; a JumpReLU threshold still learns."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saejax.sae.frame import Frame
from saejax.sae.products import centred_product, product, recalled, transposed_product
from saejax.training.ensemble import Inputs, ensemble
from saejax.training.grid import Group, Member, Sites
from saejax.training.schedules import Schedules
from saejax.training.step import StepOptions


def rounded(a):
    return np.asarray(jnp.asarray(a).astype(jnp.bfloat16).astype(jnp.float32), np.float64)


def test_operands_are_rounded_and_sums_are_not(close):
    a, b, g = (jax.random.normal(jax.random.key(i), s) for i, s in enumerate([(30, 400), (400, 20), (30, 20)]))
    value, back = jax.vjp(lambda a, b: product(a, b, "bfloat16"), a, b)
    to_a, to_b = back(g)
    close(value, rounded(a) @ rounded(b), 1e-6, "product")
    close(to_a, rounded(g) @ rounded(b).T, 1e-6, "gradient to a")
    close(to_b, rounded(a).T @ rounded(g), 1e-6, "gradient to b")
    assert {value.dtype, to_a.dtype, to_b.dtype} == {jnp.dtype("float32")}


def test_a_jumprelu_threshold_learns_as_in_float32():
    """With a kernel of 2⁻⁹, narrower than bfloat16's steps near 1, thresholds end where float32 takes them."""
    n_steps = 200
    x = jax.random.normal(jax.random.key(0), (1, 512, 12)) * jnp.ones((n_steps, 1, 1))
    ends = {}
    for dtype in ("float32", "bfloat16"):
        hparams = {"l0_coefficient": 0.5, "bandwidth": 2.0**-9, "target_l0": 1.0, "tanh_scale": 1.0, "pre_act_coefficient": 0.0}
        made = Member("m", "m", {**hparams, "learning_rate": 3e-3}, 0)
        e = ensemble(
            Group("g", Sites("s", 12), "jumprelu", Frame(12, 40, dtype=dtype), {"jumprelu_form": "saelens"}, (made,)),
            StepOptions(Schedules(n_steps)),
        )
        state, _ = e.steps(e.init(jnp.zeros(12)), Inputs(x, None, jnp.float32(1), jnp.float32(1)))
        ends[dtype] = np.asarray(state.params["threshold"][0])
        assert state.params["threshold"].dtype == jnp.float32
    assert (np.abs(ends["float32"] - 0.01) > 0.03).mean() > 0.9
    np.testing.assert_allclose(ends["bfloat16"].mean(), ends["float32"].mean(), rtol=0.1)


@pytest.mark.parametrize(("K", "N"), [(5, 14), (14, 5)])
def test_gradients_equal_numpy_where_members_share_rows(K, N, close):
    """`product`, `centred_product` and `recalled`, for two members with matrices of their own, wide and narrow."""
    shapes = [(30, K), (2, K), (2, K, N), (2, N), (2, 30, N)]
    a, centre, b, bias, g = (jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate(shapes))
    oracle_a, oracle_c, oracle_b, oracle_bias, oracle_g = (np.asarray(v, np.float64) for v in (a, centre, b, bias, g))

    def remembered(a, centre, b, bias):
        return recalled(jax.lax.stop_gradient((a - centre) @ b + bias), a, centre, b, bias)

    def gradients(function):
        def member(centre, b, bias, g):
            value, back = jax.vjp(lambda *operands: function(*operands), a, centre, b, bias)
            return value, *back(g)

        return jax.jit(jax.vmap(member))(centre, b, bias, g)

    plain = gradients(lambda a, centre, b, bias: product(a, b) + bias)
    turned = gradients(lambda a, centre, b, bias: transposed_product(a, b.T) + bias)
    centred = gradients(lambda a, centre, b, bias: centred_product(a, centre, b) + bias)
    again = gradients(remembered)
    for m in range(2):
        shifted, to_a = oracle_a - oracle_c[m], oracle_g[m] @ oracle_b[m].T
        cases = (
            (plain, oracle_a, "product"),
            (turned, oracle_a, "transposed"),
            (centred, shifted, "centred"),
            (again, shifted, "recalled"),
        )
        for found, left, what in cases:
            close(found[0][m], left @ oracle_b[m] + oracle_bias[m], 1e-5, what)
            close(found[1][m], to_a, 1e-5, f"{what}: gradient to a")
            close(found[3][m], left.T @ oracle_g[m], 1e-5, f"{what}: gradient to b")
            if left is shifted:
                close(found[2][m], -to_a.sum(0), 1e-5, f"{what}: gradient to the centre")
