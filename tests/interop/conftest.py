"""Autoencoders of every activation with no weight at a special value, and inputs on which some of their latents fire."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from saejax.sae.inference import InferenceSAE

D, E, F, K = 16, 12, 64, 4


def make_sae(activation="relu", kind="autoencoder", *, normalize="none", applied=None, unit=False, width_out=None):
    """A random InferenceSAE; transcoders have E outputs and do not subtract b_dec, unless told otherwise."""
    rng = np.random.default_rng(0)
    n_out = width_out or (D if kind == "autoencoder" else E)

    def normal(*shape, scale=1.0):
        return jnp.asarray(scale * rng.normal(size=shape), jnp.float32)

    fields = {"W_enc": normal(D, F), "b_enc": normal(F), "W_dec": normal(F, n_out, scale=0.3), "b_dec": normal(n_out)}
    if activation == "jumprelu":
        fields["threshold"] = jnp.abs(normal(F))
    if activation == "gated":
        fields |= {"r_mag": normal(F, scale=0.3), "b_mag": normal(F)}
    if activation in ("topk", "group_max"):
        fields["k"] = jnp.int32(K)
    if unit or activation == "matching_pursuit":
        fields["W_dec"] /= jnp.linalg.norm(fields["W_dec"], axis=1, keepdims=True)
    if activation == "matching_pursuit":
        fields |= {"k": jnp.int32(K), "k_max": K, "residual_threshold": jnp.float32(0.5)}
        fields |= {"W_enc": fields["W_dec"].T, "b_enc": jnp.zeros(F)}
    if kind == "skip_transcoder":
        fields["W_skip"] = normal(n_out, D)
    applied = kind == "autoencoder" if applied is None else applied
    return InferenceSAE(**fields, activation=activation, apply_b_dec_to_input=applied, normalize_activations=normalize)


@pytest.fixture
def make():
    """`make_sae`."""
    return make_sae


@pytest.fixture
def rows():
    """Inputs float32 [200, D]."""
    return np.random.default_rng(1).normal(size=(200, D)).astype(np.float32)


@pytest.fixture
def same(close):
    """Asserts that an InferenceSAE's latents and outputs are those given, some latents being active and some not."""

    def check(sae, rows_BxD, their_f, their_y, tolerance=1e-5):
        f, y = sae.reconstruct(jnp.asarray(rows_BxD))
        share = float((np.asarray(f) > 0).mean())
        assert 0 < share < 1, share
        np.testing.assert_array_equal(np.asarray(f) > 0, np.asarray(their_f) > 0)
        close(f, their_f, tolerance, "latents")
        close(y, their_y, tolerance, "outputs")

    return check


@pytest.fixture
def exactly():
    """Asserts that two InferenceSAEs hold the same bits and settings."""

    def check(a, b):
        names = [n for n in a.__dataclass_fields__]
        for name in names:
            left, right = getattr(a, name), getattr(b, name)
            assert (left is None) == (right is None), name
            if left is not None:
                np.testing.assert_array_equal(np.asarray(left), np.asarray(right), err_msg=name)

    return check


@pytest.fixture
def sparsify_package(monkeypatch):
    """The real sparsify, its decoder without Triton, which needs a GPU."""
    monkeypatch.setenv("SPARSIFY_DISABLE_TRITON", "1")
    import sparsify
    from sparsify import sparse_coder, utils

    monkeypatch.setattr(sparse_coder, "decoder_impl", utils.eager_decode)
    return sparsify
