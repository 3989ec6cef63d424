"""The language model as a loss: nothing is lost by the true rows, and the damage is that of `splice`'s arithmetic."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saejax.evaluation import downstream
from saejax.lm import gpt2, weights
from tests.conftest import TESTDATA

SITE, SPECIAL = "blocks.1.hook_resid_post", 7


@pytest.fixture(scope="module")
def params():
    return weights.load(TESTDATA / "tiny_gpt2")[1]


@pytest.fixture(scope="module")
def splice():
    config = weights.load_config(TESTDATA / "tiny_gpt2")
    return downstream.Splice(config, jnp.float32, SITE, SITE, 0.3, 0.3, "none", SPECIAL)


@pytest.fixture
def tokens(reference):
    return jnp.asarray(reference("gpt2_sites")["tokens"], jnp.int32)[:2].at[0, 5].set(SPECIAL)


@pytest.mark.parametrize("scaling", ["none", "layer_norm", "constant_norm_rescale"])
def test_true_rows_do_no_damage(params, splice, tokens, scaling):
    x_NxD, text = downstream.read(params, splice._replace(normalize_rows=scaling), tokens)
    assert downstream.damage(params, splice, "kl")(x_NxD, text) < 1e-5
    logits, _ = gpt2.run(params, tokens, config=splice.config)
    clean = gpt2.next_token_losses(logits, tokens).mean()
    np.testing.assert_allclose(downstream.damage(params, splice, "ce")(x_NxD, text), clean, rtol=1e-4)


def test_rows_that_are_not_kept_are_replaced_by_rows_that_are(params, splice, tokens):
    x_NxD, text = downstream.read(params, splice, tokens)
    _, captured = gpt2.run(params, tokens, config=splice.config, capture=(SITE,), logits=False)
    true_NxD = 0.3 * captured[SITE].reshape(x_NxD.shape)
    keep_N = np.asarray(text.keep_BxL).ravel()
    assert (~keep_N).sum() == 3  # the first position of both windows, and the special token
    np.testing.assert_allclose(x_NxD[keep_N], true_NxD[keep_N], rtol=1e-6)
    for row in np.asarray(x_NxD)[~keep_N]:
        assert np.isclose(np.asarray(true_NxD)[keep_N], row, rtol=1e-6).all(1).any()


def test_the_damage_is_that_of_the_replaced_activation_at_kept_positions(params, splice, tokens):
    x_NxD, text = downstream.read(params, splice, tokens)
    wrong_NxD = x_NxD + jax.random.normal(jax.random.key(0), x_NxD.shape)
    _, captured = gpt2.run(params, tokens, config=splice.config, capture=(SITE,), logits=False)
    edited = jnp.where(text.keep_BxL[..., None], wrong_NxD.reshape(captured[SITE].shape) / 0.3, captured[SITE])
    logits, _ = gpt2.run(params, tokens, config=splice.config, edits={SITE: edited})
    clean, spliced = np.asarray(text.clean_BxLxV, np.float64), np.asarray(jax.nn.log_softmax(logits), np.float64)
    expected = (np.exp(clean) * (clean - spliced)).sum(-1).mean()
    assert expected > 0.1
    np.testing.assert_allclose(downstream.damage(params, splice, "kl")(wrong_NxD, text), expected, rtol=1e-4)
    np.testing.assert_allclose(
        downstream.damage(params, splice, "ce")(wrong_NxD, text), gpt2.next_token_losses(logits, tokens).mean(), rtol=1e-5
    )
