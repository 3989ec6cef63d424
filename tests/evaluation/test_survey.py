"""The first pass: means over the very rows, and a sample whose addresses lead back to them."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from saejax.evaluation import splice
from saejax.evaluation.survey import survey
from saejax.lm import gpt2, weights
from tests.conftest import TESTDATA

SITES = ("blocks.0.attn.hook_z", "blocks.2.hook_resid_mid")


@pytest.mark.parametrize("batch_windows", [1, 3, 4])
def test_means_and_sampled_rows(reference, batch_windows):
    tokens = reference("gpt2_sites")["tokens"]
    config, params = weights.load(TESTDATA / "tiny_gpt2")
    model = splice.LanguageModel(params, config, jnp.float32)
    keep = np.random.default_rng(0).random(tokens.shape) < 0.6
    found = survey(model, SITES, tokens, keep, batch_windows=batch_windows, n_sample=31)
    _, captured = gpt2.run(params, tokens, config=config, capture=SITES)
    assert len(np.unique(found.addresses_N)) == 31 and keep.ravel()[found.addresses_N].all()
    for site in SITES:
        x = np.asarray(captured[site]).reshape(tokens.size, -1)
        np.testing.assert_allclose(found.mean[site], x[keep.ravel()].mean(0), atol=1e-5)
        np.testing.assert_allclose(found.rows[site], x[found.addresses_N], atol=1e-5)
    again = survey(model, SITES, tokens, keep, batch_windows=4, n_sample=31)
    np.testing.assert_array_equal(again.addresses_N, found.addresses_N)
    whole = survey(model, SITES, tokens, keep, batch_windows=4, n_sample=10**6)
    np.testing.assert_array_equal(whole.addresses_N, np.flatnonzero(keep))
