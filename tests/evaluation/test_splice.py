"""Splicing: the identity loses nothing, zeros lose everything, and ablations agree with TransformerLens's losses."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from saejax.evaluation import metrics, splice
from saejax.evaluation.splice import Spliced
from saejax.evaluation.survey import survey
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
        jnp.zeros((D, 3)), jnp.full(3, -1.0), jnp.zeros((3, D)), jnp.float32(vector_D), apply_b_dec_to_input=False
    )


def identity(D):
    """x = relu(x) − relu(−x), latent by latent."""
    eye = jnp.eye(D)
    return InferenceSAE(
        jnp.concatenate([eye, -eye], 1),
        jnp.zeros(2 * D),
        jnp.concatenate([eye, -eye], 0),
        jnp.zeros(D),
    )


def run(model, saes, tokens, keep=None, batch_windows=3, document=None):
    """`summarise` of members at {name: (site, autoencoder)} or {name: Spliced}."""
    members = {name: m if isinstance(m, Spliced) else Spliced(m[0], m[0], m[1]) for name, m in saes.items()}
    return splice.summarise(sums_of(model, members, tokens, keep, batch_windows, document).totals(), members)


def sums_of(model, members, tokens, keep=None, batch_windows=3, document=None):
    keep = np.ones(tokens.shape, bool) if keep is None else keep
    document = np.arange(tokens.size).reshape(tokens.shape) // 17 if document is None else document
    found = survey(model, sorted({m.writes for m in members.values()}), tokens, keep, batch_windows=2, n_sample=0)
    held = metrics.DocumentSums(int(document.max()) + 1)
    for batch in splice.evaluate(model, members, tokens, keep, document, found.mean, batch_windows=batch_windows):
        held.add(batch.first_document, batch.sums)
    return held


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


def test_the_layer_itself_as_a_transcoder_recovers_everything(model, reference):
    """An MLP's second matrix as a skip path predicts the MLP's output from its inner activation exactly."""
    tokens = reference("gpt2_sites")["tokens"]
    second = model.params["h_1"]["mlp"]["c_proj"]
    layer = InferenceSAE(
        jnp.zeros((192, 3)),
        jnp.full(3, -1.0),
        jnp.zeros((3, 48)),
        second["bias"],
        W_skip=second["kernel"].T,
        apply_b_dec_to_input=False,
    )
    members = {"layer": Spliced("blocks.1.mlp.hook_post", "blocks.1.hook_mlp_out", layer)}
    member = run(model, members, tokens)["members"]["layer"]
    assert member["fvu"] == pytest.approx(0.0, abs=1e-8) and member["l0"] == 0
    assert member["ce_sae"] == pytest.approx(member["ce_clean"], abs=1e-5) and member["kl_sae"] == pytest.approx(0, abs=1e-6)
    assert abs(member["ce_zero_ablation"] - member["ce_clean"]) > 1e-3


def test_a_transcoder_replaces_what_it_writes(model, reference):
    """Against the GPT-2 run by hand: x from the clean run, the prediction put at the other site."""
    tokens, rng = reference("gpt2_sites")["tokens"], np.random.default_rng(0)
    reads, writes = "blocks.0.ln2.hook_normalized", "blocks.1.hook_mlp_out"
    tensors = (rng.normal(size=(48, 96)), np.zeros(96), 0.1 * rng.normal(size=(96, 48)), rng.normal(size=48))
    sae = InferenceSAE(*map(jnp.float32, tensors), apply_b_dec_to_input=False)
    keep = rng.random(tokens.shape) < 0.7
    results = run(model, {"member": Spliced(reads, writes, sae)}, tokens, keep)
    _, captured = gpt2.run(model.params, tokens, config=model.config, capture=(reads, writes))
    y = np.asarray(captured[writes])
    y_hat = np.maximum(np.asarray(captured[reads]) @ tensors[0], 0) @ tensors[2] + tensors[3]
    for name, put, key in (("sae", y_hat, "ce_sae"), ("zero", 0.0, "ce_zero_ablation")):
        edit = jnp.float32(np.where(keep[..., None], put, y))
        logits, _ = gpt2.run(model.params, tokens, config=model.config, edits={writes: edit})
        expected = gpt2.next_token_losses(logits, tokens).mean()
        np.testing.assert_allclose(results["members"]["member"][key], expected, rtol=1e-5, err_msg=name)
    fvu = ((y - y_hat)[keep] ** 2).sum() / ((y[keep] - y[keep].mean(0)) ** 2).sum()
    np.testing.assert_allclose(results["members"]["member"]["fvu"], fvu, rtol=1e-4)


def test_losses_and_kl_of_each_document(model, reference):
    """A loss counts for the document of the position that predicts, against a loop over positions."""
    tokens = reference("gpt2_sites")["tokens"]
    document = np.searchsorted([0, 13, 14, 50, 51, 90, 130], np.arange(tokens.size), side="right").reshape(tokens.shape) - 1
    held = sums_of(model, {"zero": Spliced(SITE, SITE, constant(np.zeros(48)))}, tokens, document=document, batch_windows=3)
    logits, _ = gpt2.run(model.params, tokens, config=model.config, edits={SITE: jnp.zeros((*tokens.shape, 48))})
    losses = np.asarray(gpt2.next_token_losses(logits, tokens))
    loss, count, positions = np.zeros(7), np.zeros(7), np.zeros(7)
    for n, i in np.ndindex(tokens.shape):
        positions[document[n, i]] += 1
        if i + 1 < tokens.shape[1]:
            loss[document[n, i]] += losses[n, i]
            count[document[n, i]] += 1
    np.testing.assert_allclose(held.by_name["zero"]["loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(held.by_name[SITE]["loss"], loss, rtol=1e-5)
    np.testing.assert_array_equal(held.by_name["clean"]["n_losses"], count)
    np.testing.assert_array_equal(held.by_name["clean"]["n_positions"], positions)
