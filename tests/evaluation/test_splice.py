"""Splicing: the identity loses nothing, zeros lose everything, and ablations agree with TransformerLens's losses."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from saejax.evaluation import metrics, splice
from saejax.lm import gpt2, weights
from saejax.sae.inference import InferenceSAE

SITE = "blocks.1.hook_resid_post"


@pytest.fixture(scope="module")
def model():
    from tests.conftest import TESTDATA

    config, params = weights.load(TESTDATA / "tiny_gpt2")
    return splice.LanguageModel(params, config, jnp.float32)


def constant(vector_D):
    """An autoencoder that always answers the same."""
    D = len(vector_D)
    return InferenceSAE(
        jnp.zeros((D, 3)), jnp.full(3, -1.0), jnp.zeros((3, D)), jnp.float32(vector_D), jnp.int32(0), "relu", False
    )


def identity(D):
    """x = relu(x) − relu(−x), latent by latent."""
    eye = jnp.eye(D)
    return InferenceSAE(
        jnp.concatenate([eye, -eye], 1),
        jnp.zeros(2 * D),
        jnp.concatenate([eye, -eye], 0),
        jnp.zeros(D),
        jnp.int32(0),
        "relu",
        True,
    )


def run(model, saes, tokens, keep=None, batch_windows=3):
    keep = np.ones(tokens.shape, bool) if keep is None else keep
    collected = {}
    for _, batch in splice.evaluate(model, saes, tokens, keep, batch_windows=batch_windows):
        for name, sums in batch.items():
            collected.setdefault(name, []).append(sums)
    return splice.summarise({name: metrics.add(sums) for name, sums in collected.items()}, saes)


def test_agrees_with_the_ablated_losses_and_kl(model, reference):
    data = reference("gpt2_sites")
    saes = {"zero": (SITE, constant(np.zeros(48))), "mean": (SITE, constant(data["ablation/mean_vector"]))}
    results = run(model, saes, data["tokens"])
    np.testing.assert_allclose(results["clean"]["ce"], data["loss/clean"], atol=1e-5)
    for name in ("zero", "mean"):
        np.testing.assert_allclose(results["members"][name]["ce_sae"], data[f"loss/{name}_resid_post"], atol=1e-5)
        np.testing.assert_allclose(results["members"][name]["kl_sae"], data[f"kl/{name}_resid_post"], atol=1e-5)
    np.testing.assert_allclose(results["members"]["zero"]["ce_zero_ablation"], data["loss/zero_resid_post"], atol=1e-5)
    np.testing.assert_allclose(results["clean"][f"kl_zero_ablation/{SITE}"], data["kl/zero_resid_post"], atol=1e-5)
    assert results["members"]["zero"]["ce_recovered"] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("site", [SITE, "blocks.0.hook_mlp_out", "blocks.2.attn.hook_z"])
def test_the_identity_recovers_everything(model, site, reference):
    tokens = reference("gpt2_sites")["tokens"]
    member = run(model, {"identity": (site, identity(48))}, tokens)["members"]["identity"]
    assert member["ce_recovered"] == pytest.approx(1.0, abs=1e-5)
    assert member["kl_sae"] == pytest.approx(0.0, abs=1e-6)
    assert member["fvu"] == pytest.approx(0.0, abs=1e-10)
    assert member["l0"] == pytest.approx(48.0)


def test_positions_that_the_autoencoder_is_not_for_keep_their_activation(model, reference):
    tokens = reference("gpt2_sites")["tokens"]
    keep = np.random.default_rng(0).random(tokens.shape) < 0.5
    member = run(model, {"zero": (SITE, constant(np.zeros(48)))}, tokens, keep)["members"]["zero"]
    _, captured = gpt2.run(model.params, tokens, config=model.config, capture=(SITE,))
    edited = jnp.where(keep[..., None], 0.0, captured[SITE])
    logits, _ = gpt2.run(model.params, tokens, config=model.config, edits={SITE: edited})
    np.testing.assert_allclose(member["ce_sae"], gpt2.next_token_losses(logits, tokens).mean(), rtol=1e-5)
