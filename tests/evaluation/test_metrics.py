"""Reconstruction metrics against SAELens's own numbers and against definitions in float64."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saejax.evaluation import metrics
from saejax.sae.inference import InferenceSAE

# ours → the key in metrics.npz
SAELENS = {
    "l0": "l0",
    "l1": "l1",
    "mse": "mse",
    "explained_variance": "explained_variance",
    "cosine_similarity": "cossim",
    "relative_reconstruction_bias": "relative_reconstruction_bias",
    "l2_ratio": "l2_ratio",
}


def sae_of(data):
    tensors = {name: jnp.asarray(data[f"params/{name}"]) for name in ("W_enc", "b_enc", "W_dec", "b_dec")}
    return InferenceSAE(**tensors)


def sums_of(sae, x, keep=None, origin=None, document=None, n_documents=1, y=None):
    """One batch's sums, as `splice` takes them."""
    x = jnp.float32(x)
    y = x if y is None else jnp.float32(y)
    keep = jnp.ones(len(x), bool) if keep is None else jnp.asarray(keep)
    document = jnp.zeros(len(x), jnp.int32) if document is None else jnp.asarray(document, jnp.int32)
    origin = jnp.zeros(y.shape[1]) if origin is None else jnp.float32(origin)
    return _jitted(sae, x, y, keep, origin, document, n_documents=n_documents)


@functools.partial(jax.jit, static_argnames=("n_documents",))
def _jitted(sae, x, y, keep, origin, document, *, n_documents):
    sums, _ = metrics.reconstruction_sums(sae, x, y, keep, document, n_documents=n_documents)
    return sums | metrics.target_sums(y, keep, origin, document, n_documents=n_documents)


def measure(sae, batches, origin=None, **about):
    """Metrics from several batches of rows of one document."""
    totals = metrics.DocumentSums(1)
    for x in batches:
        totals.add(0, {"member": sums_of(sae, x, origin=origin, **about)})
    return metrics.reconstruction_metrics(totals.totals()["member"])


def test_agrees_with_saelens(reference):
    data = reference("metrics")
    ours = measure(sae_of(data), [data["x"]])
    for name, peer in SAELENS.items():
        np.testing.assert_allclose(ours[name], data[f"metrics/saelens_evals/{peer}"], rtol=1e-4, err_msg=name)
    assert ours["dead_fraction"] == np.mean(~(data["out/feature_acts"] > 0).any(0)) > 0


@pytest.mark.parametrize("cuts", [[256], [100, 156], [1, 200, 55]])
def test_does_not_depend_on_how_the_data_is_cut_nor_on_the_origin(cuts, reference):
    data = reference("metrics")
    whole = measure(sae_of(data), [data["x"]])
    pieces = np.split(data["x"], np.cumsum(cuts)[:-1])
    cut = measure(sae_of(data), pieces, origin=data["x"].mean(0) + 0.3)
    for name, value in whole.items():
        np.testing.assert_allclose(cut[name], value, rtol=1e-5, err_msg=name)


def test_rows_that_do_not_count_change_nothing(reference):
    data = reference("metrics")
    x = np.concatenate([data["x"], 1e3 + np.zeros((5, 24), np.float32)])
    kept, whole = measure(sae_of(data), [x], keep=np.arange(len(x)) < 256), measure(sae_of(data), [data["x"]])
    for name, value in whole.items():
        np.testing.assert_allclose(kept[name], value, rtol=1e-5, err_msg=name)


def test_the_mean_predictor_explains_nothing():
    x = np.random.default_rng(0).normal(3.0, 1.0, size=(500, 6))
    nothing = InferenceSAE(jnp.zeros((6, 4)), jnp.full(4, -1.0), jnp.zeros((4, 6)), jnp.float32(x.mean(0)))
    ours = measure(nothing, [x[:300], x[300:]], origin=x.mean(0))
    np.testing.assert_allclose(ours["fvu"], 1.0, rtol=1e-5)
    assert ours["l0"] == 0 and ours["dead_fraction"] == 1


def test_a_large_mean_does_not_spoil_the_variance():
    x = np.random.default_rng(0).normal(size=(4000, 6)) + 1e3
    half = InferenceSAE(jnp.zeros((6, 4)), jnp.full(4, -1.0), jnp.zeros((4, 6)), jnp.full(6, 1e3))
    x = np.float32(x)
    expected = np.sum((x.astype(np.float64) - 1e3) ** 2) / np.sum((x - x.mean(0, dtype=np.float64)) ** 2)
    np.testing.assert_allclose(measure(half, [x[:2000], x[2000:]], origin=x.mean(0))["fvu"], expected, rtol=1e-4)


def test_a_transcoder_is_compared_with_its_target():
    """Against NumPy, in float64, with widths that differ and a skip path."""
    rng = np.random.default_rng(0)
    x, y = np.float32(rng.normal(size=(200, 6))), np.float32(rng.normal(1.0, 2.0, size=(200, 9)))
    W_enc, W_dec, W_skip = (np.float32(rng.normal(size=shape)) for shape in ((6, 12), (12, 9), (9, 6)))
    b_dec = np.float32(rng.normal(size=9))
    tensors = map(jnp.asarray, (W_enc, np.zeros(12, np.float32), W_dec, b_dec))
    sae = InferenceSAE(*tensors, W_skip=jnp.asarray(W_skip), apply_b_dec_to_input=False)
    f = np.maximum(np.float64(x) @ W_enc, 0)
    y_hat = f @ W_dec + b_dec + x @ W_skip.T
    ours = measure(sae, [x], y=y)
    norm, norm_hat = np.linalg.norm(y, axis=1), np.linalg.norm(y_hat, axis=1)
    expected = {
        "l0": (f > 0).sum(1).mean(),
        "mse": ((y - y_hat) ** 2).sum(1).mean(),
        "fvu": ((y - y_hat) ** 2).sum() / ((y - y.mean(0)) ** 2).sum(),
        "cosine_similarity": ((y * y_hat).sum(1) / norm / norm_hat).mean(),
        "relative_reconstruction_bias": (norm_hat**2).mean() / (y * y_hat).sum(1).mean(),
        "l2_ratio": (norm_hat / norm).mean(),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(ours[name], value, rtol=2e-5, err_msg=name)


def test_sums_are_kept_apart_by_document(reference):
    """Documents that go over batches, against each document measured alone."""
    data = reference("metrics")
    sae, x = sae_of(data), data["x"]
    document = np.sort(np.random.default_rng(0).integers(0, 3, len(x)))
    keep = np.random.default_rng(1).random(len(x)) < 0.8
    held = metrics.DocumentSums(3)
    for rows in np.split(np.arange(len(x)), [90, 200]):
        first = document[rows[0]]
        local = {"keep": keep[rows], "document": document[rows] - first, "n_documents": 3}
        held.add(first, {"member": sums_of(sae, x[rows], **local)})
    for d in range(3):
        rows = (document == d) & keep
        alone = metrics.ratios({k: v[d] for k, v in held.by_name["member"].items() if k != "fired_F"})
        expected = measure(sae, [x], keep=rows)
        for name, value in alone.items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-4, err_msg=f"{name} of document {d}")
    np.testing.assert_array_equal(held.by_name["member"]["fired_F"], (data["out/feature_acts"][keep] > 0).sum(0))


def test_the_peers_numbers_follow_from_the_definitions_in_the_readme(reference):
    """What README's "Definitions" says of other libraries, in NumPy, against those libraries' own numbers."""
    data = reference("metrics")
    x, x_hat = np.float64(data["x"]), np.float64(data["out/recon"])
    error, spread = ((x - x_hat) ** 2).sum(1), ((x - x.mean(0)) ** 2).sum(1)
    halves = [slice(0, 128), slice(128, 256)]
    bias = [(x_hat[h] ** 2).sum() / (x[h] * x_hat[h]).sum() for h in halves]
    expected = {
        "saelens_evals/explained_variance_legacy": np.mean(1 - error / spread),
        "saelens_evals/mse": error.mean(),
        "saelens_evals_two_batches/relative_reconstruction_bias": np.mean(bias),
        "dictionary_learning_evaluate/frac_variance_explained": 1 - (x - x_hat).var(0).sum() / x.var(0).sum(),
        "dictionary_learning_evaluate/l2_loss": np.sqrt(error).mean(),
        "sparse_coding/r_squared": 1 - error.sum() / spread.sum(),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(data[f"metrics/{name}"], value, rtol=1e-4, err_msg=name)
