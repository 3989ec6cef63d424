"""What weights say, against NumPy; the map and the clusters."""

from __future__ import annotations

import numpy as np
import pytest

from saejax.features import layout, weights
from tests.features.conftest import member_of

SITES = ("hook_embed", "blocks.1.hook_resid_post", "blocks.0.hook_attn_out", "blocks.2.mlp.hook_post", "blocks.1.attn.hook_z")


def at_unembedding(W_dec, site, params):
    if site.startswith("ln_final"):
        return W_dec * np.asarray(params["ln_f"]["scale"])
    if "hook_post" in site and "mlp" in site or "hook_z" in site:
        part = "mlp" if "mlp" in site else "attn"
        W_dec = W_dec @ np.asarray(params[f"h_{site.split('.')[1]}"][part]["c_proj"]["kernel"])
    return (W_dec - W_dec.mean(1, keepdims=True)) * np.asarray(params["ln_f"]["scale"])


@pytest.mark.parametrize("site", [*SITES, "ln_final.hook_normalized"])
def test_direct_logits(model, site):
    member = member_of(model, site)
    W_FxD = weights.at_unembedding(member.sae.W_dec, site, model.params)
    found = weights.direct_logits(W_FxD, model.params["wte"]["embedding"], 7)
    logits = at_unembedding(np.float64(member.sae.W_dec), site, model.params) @ np.asarray(model.params["wte"]["embedding"]).T
    for sign, (tokens, values) in ((-1, found.boosted), (1, found.suppressed)):
        order = np.argsort(sign * logits, axis=1)[:, :7]
        np.testing.assert_array_equal(tokens, order)
        np.testing.assert_allclose(values, np.take_along_axis(logits, order, axis=1), atol=1e-5)
    for f in range(len(logits)):
        counts, edges = np.histogram(np.float32(logits[f]), bins=weights.N_BINS)
        np.testing.assert_allclose(found.edges[f], edges, atol=1e-5)
        assert np.abs(found.counts[f] - counts).sum() <= 4 and found.counts[f].sum() == logits.shape[1]


def test_sites_without_a_linear_way_to_the_logits(model):
    for site in ("blocks.1.attn.hook_q", "blocks.1.mlp.hook_pre", "blocks.1.ln1.hook_normalized"):
        member = member_of(model, site)
        assert weights.at_unembedding(member.sae.W_dec, site, model.params) is None


def test_aligned_neurons(model):
    site, kernel = "blocks.1.hook_resid_post", np.asarray(model.params["h_1"]["mlp"]["c_proj"]["kernel"])
    W_dec = np.array(member_of(model, site).sae.W_dec)
    W_dec[4] = -3 * kernel[11]
    index, cosine = weights.aligned_neurons(W_dec, W_dec, site, 1, model.params, 5)
    assert index[4, 0] == 11 and cosine[4, 0] == pytest.approx(-1.0)
    brute = (W_dec / np.linalg.norm(W_dec, axis=1, keepdims=True)) @ (kernel / np.linalg.norm(kernel, axis=1, keepdims=True)).T
    np.testing.assert_array_equal(index, np.argsort(-np.abs(brute), axis=1)[:, :5])
    np.testing.assert_allclose(cosine, np.take_along_axis(brute, index, axis=1), atol=1e-5)
    hidden = member_of(model, "blocks.1.mlp.hook_post").sae.W_dec
    index, _ = weights.aligned_neurons(hidden, None, "blocks.1.mlp.hook_post", 1, model.params, 1)
    np.testing.assert_array_equal(index[:, 0], np.abs(np.asarray(hidden)).argmax(1))
    assert weights.aligned_neurons(W_dec, None, "blocks.1.attn.hook_q", 1, model.params, 5)[0].shape == (20, 0)


def test_principal_components():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 6)) * np.array([1, 5, 1, 1, 9, 1])
    found = layout.principal_components(x.astype(np.float32))
    centred = x - x.mean(0)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs(found), np.abs(left[:, :2] * singular[:2]), atol=1e-3)
    assert (found[np.abs(found).argmax(0), [0, 1]] > 0).all()


def test_planted_clusters_are_found():
    rng = np.random.default_rng(0)
    centres = np.linalg.qr(rng.normal(size=(20, 20)))[0][:8]
    planted = np.repeat(np.arange(8), 32)
    atoms = centres[planted] + 0.05 * rng.normal(size=(256, 20))
    atoms = np.float32(atoms / np.linalg.norm(atoms, axis=1, keepdims=True))
    found = layout.clusters(atoms, 0)
    assert found.max() + 1 == 8 and all(len(set(found[planted == c].tolist())) == 1 for c in range(8))
    np.testing.assert_array_equal(found, layout.clusters(atoms, 0))


@pytest.mark.parametrize("installed", [True, False])
def test_the_map_is_of_umap_where_it_is_installed(monkeypatch, installed):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if installed else None)
    monkeypatch.setattr(layout, "_umap", lambda atoms, seed: np.zeros((len(atoms), 2), np.float32))
    atoms = np.eye(40, dtype=np.float32)
    kind, places = layout.two_dimensions(atoms, 0)
    assert kind == ("umap" if installed else "pca") and places.shape == (40, 2)
    assert layout.two_dimensions(atoms[:10], 0)[0] == "pca"


def test_a_repeated_or_single_direction():
    assert layout.clusters(np.ones((1, 3), np.float32), 0).tolist() == [0]
    assert len(layout.clusters(np.ones((50, 1), np.float32), 0)) == 50
