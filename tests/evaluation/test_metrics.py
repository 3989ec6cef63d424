"""Reconstruction metrics against SAELens's own numbers and against definitions in float64."""

from __future__ import annotations

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
    return InferenceSAE(**tensors, k=jnp.int32(0), activation="relu", apply_b_dec_to_input=True)


def measure(sae, batches, origin=None):
    width = batches[0].shape[1]
    origin = np.zeros(width) if origin is None else origin
    sums = [metrics.reconstruction_sums(sae, jnp.float32(x), jnp.ones(len(x), bool), jnp.float32(origin))[0] for x in batches]
    return metrics.reconstruction_metrics(metrics.add(sums))


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
    keep = jnp.arange(len(x)) < 256
    sums, _ = metrics.reconstruction_sums(sae_of(data), jnp.asarray(x), keep, jnp.zeros(24))
    kept, whole = metrics.reconstruction_metrics(metrics.add([sums])), measure(sae_of(data), [data["x"]])
    for name, value in whole.items():
        np.testing.assert_allclose(kept[name], value, rtol=1e-5, err_msg=name)


def test_the_mean_predictor_explains_nothing():
    x = np.random.default_rng(0).normal(3.0, 1.0, size=(500, 6))
    nothing = InferenceSAE(
        jnp.zeros((6, 4)), jnp.full(4, -1.0), jnp.zeros((4, 6)), jnp.float32(x.mean(0)), jnp.int32(0), "relu", True
    )
    ours = measure(nothing, [x[:300], x[300:]], origin=x.mean(0))
    np.testing.assert_allclose(ours["fvu"], 1.0, rtol=1e-5)
    assert ours["l0"] == 0 and ours["dead_fraction"] == 1


def test_a_large_mean_does_not_spoil_the_variance():
    x = np.random.default_rng(0).normal(size=(4000, 6)) + 1e3
    half = InferenceSAE(jnp.zeros((6, 4)), jnp.full(4, -1.0), jnp.zeros((4, 6)), jnp.full(6, 1e3), jnp.int32(0), "relu", True)
    x = np.float32(x)
    expected = np.sum((x.astype(np.float64) - 1e3) ** 2) / np.sum((x - x.mean(0, dtype=np.float64)) ** 2)
    np.testing.assert_allclose(measure(half, [x[:2000], x[2000:]], origin=x.mean(0))["fvu"], expected, rtol=1e-4)
