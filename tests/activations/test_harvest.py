"""Tokens to rows: against transformers' activations, with a part-filled last batch, and resumed."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from saejax.activations.harvest import harvest
from saejax.lm import gpt2, weights

SITES = ("blocks.1.hook_resid_post", "blocks.2.attn.hook_z", "blocks.0.mlp.hook_post", "blocks.2.ln2.hook_normalized")


@functools.cache
def load(testdata):
    return weights.load(testdata / "tiny_gpt2")


def collect(testdata, tokens, **options):
    config, params = load(testdata)
    options = {"sites": SITES, "dtype": jnp.float32, "batch_windows": 3, **options}
    return list(harvest(params, tokens, config=config, **options))


def within_bfloat16(actual, expected, slack):
    """Whether `actual` is `expected` to half a unit in bfloat16's last place, at most 2⁻⁸ of the value, and `slack`."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    return (np.abs(actual - expected) <= 2.0**-8 * np.abs(expected) + slack).all()


def test_rows_are_the_reference_activations_rounded_to_bfloat16(testdata, reference):
    data = reference("gpt2_sites")
    batches = collect(testdata, data["tokens"])
    assert [set(batch) for batch in batches] == [set(SITES)] * 2
    for site in SITES:
        rows = np.concatenate([batch[site] for batch in batches])
        expected = data[f"sites/{site}"].reshape(4, 40, -1)
        assert rows.shape == expected.shape and rows.dtype == ml_dtypes.bfloat16, site
        assert within_bfloat16(rows, expected, 1e-4), site


def test_rows_are_what_gpt2_run_captures(testdata, reference):
    config, params = load(testdata)
    tokens = reference("gpt2_sites")["tokens"][:3]
    (batch,) = collect(testdata, tokens)
    _, captured = jax.jit(lambda p: gpt2.run(p, tokens, config=config, capture=SITES, logits=False))(params)
    for site, rows in batch.items():
        expected = np.asarray(captured[site]).reshape(3, 40, -1)
        assert within_bfloat16(rows, expected, 1e-5), site
        assert (rows == expected.astype(ml_dtypes.bfloat16)).mean() > 0.99, f"{site}: rounded to the nearest"


def test_heads_are_joined_in_order(testdata, reference):
    data = reference("gpt2_sites")
    (batch,) = collect(testdata, data["tokens"][:3])
    rows = batch["blocks.2.attn.hook_z"]
    assert rows.shape == (3, 40, 48)
    for head in range(4):
        expected = data["sites/blocks.2.attn.hook_z"][:3, :, head]
        assert within_bfloat16(rows[..., 12 * head : 12 * head + 12], expected, 1e-4)


@pytest.mark.parametrize(("n_windows", "sizes"), [(4, [3, 1]), (3, [3]), (1, [1]), (8, [3, 3, 2]), (0, [])])
def test_the_last_batch_may_be_part_filled(n_windows, sizes, testdata, reference):
    data = reference("gpt2_sites")
    tokens = np.concatenate([data["tokens"]] * 2)[:n_windows]
    batches = collect(testdata, tokens)
    assert [batch[SITES[0]].shape for batch in batches] == [(n, 40, 48) for n in sizes]
    expected = np.concatenate([data[f"sites/{SITES[0]}"]] * 2)[:n_windows]
    if batches:
        assert within_bfloat16(np.concatenate([b[SITES[0]] for b in batches]), expected, 1e-4)


def test_a_harvest_that_goes_on_gives_the_same_bits(testdata, reference):
    tokens = np.tile(reference("gpt2_sites")["tokens"], (2, 1))[:, ::-1]
    whole = collect(testdata, tokens)
    assert len(whole) == 3
    for first in range(4):
        rest = collect(testdata, tokens, first_batch=first)
        assert len(rest) == 3 - first
        for batch, expected in zip(rest, whole[first:]):
            for site in SITES:
                np.testing.assert_array_equal(batch[site].view(np.uint16), expected[site].view(np.uint16))


def test_bfloat16_activations_are_near_float32s(testdata, reference, close):
    tokens = reference("gpt2_sites")["tokens"][:3]
    (exact,), (half,) = collect(testdata, tokens), collect(testdata, tokens, dtype=jnp.bfloat16)
    for site in SITES:
        assert half[site].dtype == ml_dtypes.bfloat16
        close(half[site], exact[site], 0.03, site)
        assert (half[site].view(np.uint16) != exact[site].view(np.uint16)).any(), "the model itself ran in bfloat16"
