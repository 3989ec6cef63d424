"""Sparse products against NumPy in float64, and the loss that uses them against the dense one."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saejax.sae import gathers, kernels, sparse
from saejax.sae.base import LossContext
from saejax.sae.chosen import FORMS
from saejax.sae.frame import Frame
from saejax.sae.places import Places, places_of
from saejax.sae.registry import ARCHITECTURES

SIZES = {"even": (64, 8, 40, 12), "odd": (37, 5, 131, 7), "one": (1, 1, 3, 2), "more latents than keys": (70, 11, 2**23, 2)}


def codes(B, K, F, *, key=0):
    """Values of which some are 0, and distinct places, latent 1 in every row."""
    rng = np.random.default_rng(key)
    values = rng.normal(size=(B, K)) * (rng.random((B, K)) < 0.8)
    latents = rng.permuted(np.tile(np.arange(min(F, 500)), (B, 1)), axis=1)[:, :K]
    latents[:, 0] = np.where((latents == 1).any(1), latents[:, 0], 1)
    return values.astype(np.float32), latents.astype(np.int32)


def summed(values, latents, rows, F):
    sums = np.zeros((F, rows.shape[1]))
    np.add.at(sums, latents.reshape(-1), (values[:, :, None].astype(np.float64) * rows[:, None]).reshape(-1, rows.shape[1]))
    return sums


@pytest.mark.parametrize("is_flat", [False, True])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_gathers_equal_numpy(sizes, is_flat, close):
    B, K, F, E = sizes
    (values, latents), W = codes(B, K, F), np.random.default_rng(1).normal(size=(F, E)).astype(np.float32)
    rows = np.random.default_rng(2).normal(size=(B, E)).astype(np.float32)
    decoded = (values[:, :, None].astype(np.float64) * W[latents]).sum(1)
    picked = (rows[:, None].astype(np.float64) * W[latents]).sum(2)
    sums = summed(values, latents, rows, F)
    places = Places(jnp.asarray(latents))
    if is_flat:
        row_N, latent_N = places.flat()
        values, places, picked = values.reshape(-1), Places(latent_N, row_N), picked.reshape(-1)
    close(jax.jit(gathers.decode, static_argnums=3)(values, places, W, B), decoded, 1e-6, "decode")
    close(jax.jit(gathers.pick)(rows, W, places), picked, 1e-6, "pick")
    close(jax.jit(gathers.accumulate, static_argnums=3)(values, places, rows, F), sums, 1e-6, "sums")


def test_gathers_of_members_are_each_its_own(close):
    n, B, K, F, E = 3, 20, 4, 30, 6
    pairs = [codes(B, K, F, key=i) for i in range(n)]
    values, latents = (jnp.stack(a) for a in zip(*pairs))
    W, rows = jax.random.normal(jax.random.key(0), (n, F, E)), jax.random.normal(jax.random.key(1), (B, E))
    decoded = jax.jit(jax.vmap(lambda v, i, W: gathers.decode(v, Places(i), W, B)))(values, latents, W)
    sums = jax.jit(jax.vmap(lambda v, i: gathers.accumulate(v, Places(i), rows, F)))(values, latents)
    for m in range(n):
        close(decoded[m], gathers.decode(values[m], Places(latents[m]), W[m], B), 1e-6, f"decode of member {m}")
        close(sums[m], summed(*pairs[m], np.asarray(rows), F), 1e-6, f"sums of member {m}")


@pytest.mark.parametrize(("B", "F"), [(1, 1), (9, 31), (40, 32), (21, 1000)])
def test_places_of_marks_are_those_of_numpy(B, F):
    rng = np.random.default_rng(F)
    kept = np.where(rng.random((B, F)) < 0.1, rng.random((B, F)) + 0.1, 0.0).astype(np.float32)
    kept[B // 2] = 1.0  # a row of nothing else
    for n in (1, (kept > 0).sum(), (kept > 0).sum() + 40):
        values, places = jax.jit(places_of, static_argnums=1)(kept, int(n))
        again = np.zeros((B, F), np.float32)
        np.add.at(again, (np.asarray(places.rows), np.asarray(places.latents)), values)
        assert (np.diff(places.rows) >= 0).all()
        if n >= (kept > 0).sum():
            np.testing.assert_array_equal(again, kept)
        else:
            assert (again > 0).sum() == n and (again[again > 0] == kept[again > 0]).all()


FRAMES = {
    "autoencoder": Frame(12, 160),
    "uncentred": Frame(12, 160, apply_b_dec_to_input=False),
    "transcoder": Frame(12, 160, d_out=9, skip=True),
    "bfloat16": Frame(12, 160, dtype="bfloat16"),
}


CASES = [("topk", form, "autoencoder") for form in FORMS] + [
    ("topk", "gao2024", "uncentred"),
    ("topk", "saelens", "transcoder"),
    ("topk", "gao2024", "bfloat16"),
    ("batch_topk", "gao2024", "autoencoder"),
    ("batch_topk", "saelens", "transcoder"),
    ("batch_topk", "dictionary_learning", "bfloat16"),
]


@pytest.mark.parametrize(("architecture", "form", "frame"), CASES)
def test_the_sparse_loss_is_the_dense_one(architecture, form, frame, monkeypatch, close):
    """Loss, metrics, fired latents and gradients, for members with different k that share their rows, with and without dead."""
    frame, ks, B = FRAMES[frame], jnp.array([3, 7]), 96
    x, y = (jax.random.normal(jax.random.key(i), (B, width)) for i, width in enumerate((frame.d_in, frame.width_out)))
    hparams = {"k": ks, "auxk_coefficient": jnp.array([0.5, 0.1]), "threshold_rate": jnp.array([0.1, 0.2])}

    def run(is_sparse: bool, any_dead: bool):
        monkeypatch.setattr(sparse, "worthwhile", lambda *sizes: is_sparse)
        sae = ARCHITECTURES[architecture].make(frame, **{f"{architecture}_form": form}, k_max=7)
        params = jax.vmap(lambda key: sae.init(key, 0.1 * jnp.ones(frame.width_out)))(jax.random.split(jax.random.key(2), 2))
        params = jax.tree.map(lambda a: a + 0.1 * jax.random.normal(jax.random.key(9), a.shape), params)
        dead_F = (jnp.arange(frame.d_sae) % 5 == 0) & any_dead

        def member(params, hparams):
            context = LossContext(dead_F, jnp.bool_(any_dead), jnp.int32(0), 10)
            return jax.value_and_grad(lambda p: sae.loss(p, hparams, x, y, context), has_aux=True)(params)

        return jax.jit(jax.vmap(member))(params, hparams)

    tolerance = 2e-2 if frame.dtype == "bfloat16" else 1e-5  # operands of sparse and dense products are rounded alike, sums not
    for any_dead in (False, True):
        (loss, aux), grads = run(True, any_dead)
        (dense_loss, dense_aux), dense_grads = run(False, any_dead)
        close(loss, dense_loss, 1e-5, "loss")
        np.testing.assert_array_equal(aux.fired_F, dense_aux.fired_F)
        for name, value in (dense_aux.metrics | dense_aux.observed).items():
            close((aux.metrics | aux.observed)[name], value, 1e-5, name)
        for name, value in dense_grads.items():
            close(grads[name], value, tolerance, f"gradient to {name}, dead: {any_dead}")


def test_where_sparse_products_are_used():
    """Not where a row's latents are many beside the dictionary: the two bounds that were measured."""
    assert sparse.worthwhile(768, 6144, 32) and not sparse.worthwhile(128, 1024, 64)


def test_the_gradient_to_rows_is_there_when_it_is_asked_for(close):
    """Of `encoded`, which a training step does not use, but whoever differentiates through an autoencoder does."""
    x, W, b = (jax.random.normal(jax.random.key(i), s) for i, s in enumerate([(20, 6), (6, 50), (50,)]))
    values, places = sparse.strongest_of_rows(x @ W + b, 4, 4)
    weight = jax.random.normal(jax.random.key(4), values.shape)

    def through_places(x):
        return jnp.sum(weight * sparse.encoded(values, places, x, None, W, b))

    def through_all(x):
        return jnp.sum(weight * jnp.take_along_axis(x @ W + b, places.latents, axis=1))

    close(jax.grad(through_places)(x), jax.grad(through_all)(x), 1e-5, "gradient to x")


def test_the_kernels_of_a_gpu_give_the_same_gradients(monkeypatch, close):
    """By members, in interpret mode, through the same derivatives."""
    for name in ("decode", "pick", "accumulate"):
        monkeypatch.setattr(kernels, name, functools.partial(getattr(kernels, name), interpret=True))
    pairs = [codes(10, 4, 30, key=i) for i in range(2)]
    values, latents = (jnp.abs(jnp.stack(a)) for a in zip(*pairs))
    x, W_enc, W_dec = (jax.random.normal(jax.random.key(i), s) for i, s in enumerate([(10, 6), (2, 6, 30), (2, 30, 6)]))

    def run():
        def member(values, latents, W_enc, W_dec):
            def loss(values, W_enc, W_dec):
                values = sparse.encoded(values, Places(latents), x, 0.1 * jnp.ones(6), W_enc, jnp.zeros(30))
                return jnp.sum(jnp.square(x - sparse.decode(values, Places(latents), W_dec, len(x))))

            return jax.value_and_grad(loss, (0, 1, 2))(values, W_enc, W_dec)

        return jax.vmap(member)(values, latents, W_enc, W_dec)

    plain = run()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    for found, expected in zip(jax.tree.leaves(run()), jax.tree.leaves(plain)):
        close(found, expected, 1e-5, "loss or gradient")
