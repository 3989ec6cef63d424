"""Ablation and steering against a direct recomputation with whole forward passes, at every kind of site."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saejax.features import ablation, steering
from saejax.features.ablation import Wanted
from saejax.features.steering import Strength
from saejax.lm import gpt2
from saejax.sae.scaling import normalize
from tests.features.conftest import member_of, text_of

PLACES = {
    "stream": ("blocks.1.hook_resid_post", None, {}),
    "before the block": ("blocks.1.hook_resid_pre", None, {}),
    "embedding": ("hook_embed", None, {}),
    "mlp": ("blocks.1.hook_mlp_out", None, {}),
    "heads": ("blocks.1.attn.hook_z", None, {}),
    "queries": ("blocks.2.attn.hook_q", None, {}),
    "last": ("ln_final.hook_normalized", None, {}),
    "transcoder": ("blocks.1.ln2.hook_normalized", "blocks.1.hook_mlp_out", {}),
    "scaled rows": ("blocks.1.hook_resid_post", None, {"normalize_activations": "layer_norm"}),
    "scaled transcoder": (
        "blocks.0.hook_resid_mid",
        "blocks.1.hook_mlp_out",
        {"normalize_activations": "constant_norm_rescale"},
    ),
}


def part_of(member, captured, latent, f_L, shape):
    """f W_dec[latent] in raw units, by the definition."""
    part = f_L[:, None] * np.asarray(member.sae.W_dec)[latent]
    _, undoing = normalize(captured[member.reads].reshape(len(f_L), -1), member.sae.normalize_activations)
    return (part if undoing is None else part * np.asarray(undoing[1])).reshape(shape)


@pytest.mark.parametrize("place", PLACES)
def test_ablation_is_what_whole_passes_say(model, place):
    reads, writes, more = PLACES[place]
    member, text = member_of(model, reads, writes, **more), text_of(n_windows=6, L=48)
    rng = np.random.default_rng(0)
    wanted = []
    for i, (peak, first, end) in enumerate(
        [(5, 0, 9), (47, 40, 48), (70, 60, 80), (100, 97, 101), (260, 250, 262), (51, 48, 53)]
    ):
        f_L = np.where(rng.random(48) < 0.3, rng.exponential(size=48), 0.0).astype(np.float32)
        wanted.append(Wanted(3 * i, first, end, peak, f_L))
    found = dict(ablation.effects(model, member, text, wanted, batch_tokens=100))
    assert sorted(found) == list(range(6))
    largest = 0.0
    for i, one in enumerate(wanted):
        tokens = jnp.asarray(text.windows.tokens_NxL[one.first // 48][None])
        options = {"config": model.config, "capture": tuple({member.reads, member.writes})}
        logits, captured = gpt2.run(model.params, tokens, **options)
        x = captured[member.writes]
        edited = x - part_of(member, captured, one.latent, one.f_L, x.shape)
        without, _ = gpt2.run(model.params, tokens, config=model.config, edits={member.writes: edited})
        change = np.asarray(gpt2.next_token_losses(without, tokens) - gpt2.next_token_losses(logits, tokens))[0]
        expected = np.concatenate([[np.nan], change])[one.first % 48 : (one.end - 1) % 48 + 1]
        measured = np.array([np.nan if c is None else c for c in found[i].loss_change])
        np.testing.assert_allclose(measured, expected, atol=1e-4)
        assert np.isnan(measured).sum() == (one.first % 48 == 0)
        largest = max(largest, np.nanmax(np.abs(measured)))
        at_peak = one.peak % 48
        moved = np.asarray(jax.nn.softmax(without[0, at_peak]) - jax.nn.softmax(logits[0, at_peak]))
        np.testing.assert_allclose(found[i].risen_changes, np.sort(moved)[::-1][:5], atol=1e-5)
        np.testing.assert_allclose(found[i].fallen_changes, np.sort(moved)[:5], atol=1e-5)
        np.testing.assert_allclose(moved[found[i].risen_tokens], found[i].risen_changes, atol=1e-5)
        np.testing.assert_allclose(moved[found[i].fallen_tokens], found[i].fallen_changes, atol=1e-5)
    assert largest > 0.01


def test_a_latent_that_is_not_active_changes_nothing(model):
    member, text = member_of(model, "blocks.0.hook_resid_post"), text_of(n_windows=2, L=48)
    ((_, effect),) = ablation.effects(model, member, text, [Wanted(1, 3, 20, 7, np.zeros(48, np.float32))], batch_tokens=48)
    assert np.abs(effect.loss_change).max() < 1e-5 and len(effect.loss_change) == 17
    assert list(ablation.effects(model, member, text, [], batch_tokens=48)) == []


@pytest.mark.parametrize("place", ["stream", "heads", "last", "scaled transcoder"])
def test_steered_logits_are_what_a_whole_pass_says(model, place):
    reads, writes, more = PLACES[place]
    member, tokens = member_of(model, reads, writes, **more), jnp.asarray(text_of(3, 12).windows.tokens_NxL)
    f_ExL = np.tile(np.float32([[0.0], [0.7], [2.0]]), (1, 12))
    latents = np.array([0, 5, 9])
    found = steering.steered_logits(
        model.params, member.sae, tokens, latents, f_ExL, 8, model.config, model.dtype, member.reads, member.writes
    )
    clean, captured = gpt2.run(model.params, tokens, config=model.config, capture=tuple({member.reads, member.writes}))
    for e in range(3):
        own = {site: x[e] for site, x in captured.items()}
        x = captured[member.writes][e]
        edit = (x + part_of(member, own, latents[e], f_ExL[e], x.shape))[None]
        expected, _ = gpt2.run(model.params, tokens[e : e + 1], config=model.config, edits={member.writes: edit})
        np.testing.assert_allclose(found[e], expected[0, 8], atol=1e-4)
    np.testing.assert_allclose(found[0], clean[0, 8], atol=1e-4)


def test_continuations_depend_on_seed_latent_and_strength_alone(model):
    member = member_of(model, "blocks.1.hook_resid_post")
    wanted = [Strength(latent, strength, 1.5) for latent in (2, 7, 11) for strength in (0.0, 1.0, 4.0)]
    options = {"n_tokens": 6, "batch_tokens": 1000}

    def sampled(some, seed=0, **more):
        return list(steering.continuations(model, member, some, [0, 4, 9], seed=seed, **options | more))

    whole = sampled(wanted)
    assert all(len(one) == 6 and max(one) < model.config.vocab_size for one in whole)
    assert sampled(wanted[::-1], batch_tokens=20) == whole[::-1] and sampled(wanted[4:5]) == whole[4:5]
    assert sampled(wanted, seed=1) != whole and len({tuple(one) for one in whole}) == len(whole)


def test_strong_steering_is_heard(model):
    """A latent whose decoder is a token's own direction at the unembedding makes the model say that token."""
    member = member_of(model, "ln_final.hook_normalized")
    direction = model.params["wte"]["embedding"][42] / model.params["ln_f"]["scale"]
    member = member._replace(sae=member.sae.replace(W_dec=member.sae.W_dec.at[3].set(direction)))
    (said,) = steering.continuations(model, member, [Strength(3, 100.0, 50.0)], [0, 1], n_tokens=5, seed=0, batch_tokens=64)
    assert said == [42] * 5
