"""Activations, edits and next tokens against whole forward passes of the text alone, at every kind of site."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saejax.live import programs
from saejax.live.edits import KINDS, N_EDITS, Edit, pack
from saejax.live.programs import Setting
from saejax.lm import gpt2
from saejax.sae.scaling import normalize
from tests.features.conftest import END_OF_TEXT, member_of
from tests.features.test_effects import PLACES as ALL_PLACES

PLACES = {name: ALL_PLACES[name] for name in ("stream", "heads", "last", "transcoder", "scaled transcoder")}

TOKENS = np.array([END_OF_TEXT, 5, 17, 3, 41, END_OF_TEXT, 8, 22, 9], np.int32)
EDITS = [Edit(3, "ablate", 0.0), Edit(7, "scale", 2.5), Edit(11, "add", 1.5), Edit(0, "set", -0.5)]
RECORDED_F = np.linspace(0.5, 2.0, 20).astype(np.float32)


def setting_of(model, member, exclude_special=True) -> Setting:
    return Setting(model.config, model.dtype, member.reads, member.writes, END_OF_TEXT, exclude_special)


def padded(tokens, length, junk=50):
    return np.concatenate([tokens, np.full(length - len(tokens), junk, np.int32)])


def latents_of(model, member, tokens):
    """(f [L, F] with those positions at 0 that are left out, the captured sites), of the text alone."""
    sites = tuple({member.reads, member.writes})
    _, captured = gpt2.run(model.params, jnp.asarray(tokens[None]), config=model.config, capture=sites)
    mask = (np.arange(len(tokens)) > 0) & (tokens != END_OF_TEXT)
    f_LxF = np.asarray(member.sae.encode(captured[member.reads].reshape(len(tokens), -1)))
    return np.where(mask[:, None], f_LxF, 0.0), captured, mask


def edited_logits(model, member, tokens, edits, unit_of):
    """Logits [L, V] with each edit done as it is defined, one latent after the other."""
    f_LxF, captured, mask = latents_of(model, member, tokens)
    part = np.zeros((len(tokens), member.sae.W_dec.shape[1]))
    for latent, kind, s in edits:
        f, unit = f_LxF[:, latent], unit_of(latent, f_LxF)
        new = {"ablate": 0 * f, "scale": s * f, "add": f + s * unit, "set": 0 * f + s * unit}[kind]
        part += ((new - f) * mask)[:, None] * np.asarray(member.sae.W_dec)[latent]
    _, undoing = normalize(captured[member.reads].reshape(len(tokens), -1), member.sae.normalize_activations)
    part = part if undoing is None else part * np.asarray(undoing[1])
    y = captured[member.writes]
    edit = y + jnp.float32(part).reshape(y.shape)
    logits, _ = gpt2.run(model.params, jnp.asarray(tokens[None]), config=model.config, edits={member.writes: edit})
    return logits


def recorded(latent, f_LxF):
    return RECORDED_F[latent]


@pytest.mark.parametrize("place, length", [*((place, 16) for place in PLACES), ("stream", 9), ("stream", 32)])
def test_activations_are_those_of_the_text_alone(model, place, length):
    reads, writes, more = PLACES[place]
    member = member_of(model, reads, writes, **more)
    expected_LxF, captured, mask = latents_of(model, member, TOKENS)
    wanted = np.arange(N_EDITS, dtype=np.int32)
    args = (model.params, member.sae, padded(TOKENS, length), np.int32(9), wanted)
    found = programs.activations(*args, setting=setting_of(model, member), n=6)
    np.testing.assert_allclose(found.chosen_LxK[:9], expected_LxF[:, :N_EDITS], atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(found.values_LxN[:9], np.sort(expected_LxF, axis=1)[:, :-7:-1], atol=1e-5, rtol=1e-5)
    picked = np.take_along_axis(expected_LxF, np.asarray(found.latents_LxN[:9]), axis=1)
    np.testing.assert_allclose(picked, found.values_LxN[:9], atol=1e-5, rtol=1e-5)
    assert not np.asarray(found.values_LxN)[9:].any(), "nothing is said of padding"
    assert float(found.l0) == pytest.approx((expected_LxF > 0).sum() / mask.sum(), rel=1e-6)
    y = np.asarray(captured[member.writes]).reshape(9, -1)[mask]
    _, y_hat = member.sae.reconstruct(captured[member.reads].reshape(9, -1))
    assert float(found.error) == pytest.approx(np.square(y - np.asarray(y_hat)[mask]).sum(), rel=1e-4)
    assert float(found.variance) == pytest.approx(np.square(y - y.mean(axis=0)).sum(), rel=1e-4)


@pytest.mark.parametrize("place", PLACES)
def test_edits_change_what_whole_passes_say(model, place):
    reads, writes, more = PLACES[place]
    member = member_of(model, reads, writes, **more)
    clean, _ = gpt2.run(model.params, jnp.asarray(TOKENS[None]), config=model.config)
    largest = 0.0
    for edits in ([EDITS[0]], [EDITS[1]], EDITS):
        expected = edited_logits(model, member, TOKENS, edits, recorded)
        args = (model.params, member.sae, padded(TOKENS, 16), np.int32(9), np.int32(6), pack(edits, RECORDED_F))
        found = programs.changes(*args, setting=setting_of(model, member), n=10)
        before_V, after_V = (np.asarray(jax.nn.softmax(a[0, 6])) for a in (clean, expected))
        np.testing.assert_allclose(found.before_N, before_V[found.tokens_N], atol=1e-5)
        np.testing.assert_allclose(found.after_N, after_V[found.tokens_N], atol=1e-5)
        either = np.maximum(before_V, after_V)
        assert set(np.argsort(either)[::-1][:10]) == set(np.asarray(found.tokens_N).tolist())
        assert float(found.kl) == pytest.approx((before_V * np.log(before_V / after_V)).sum(), abs=1e-5)
        losses = [gpt2.next_token_losses(a, jnp.asarray(TOKENS[None]))[0] for a in (clean, expected)]
        np.testing.assert_allclose(found.loss_change_L[1:9], losses[1] - losses[0], atol=1e-4)
        largest = max(largest, np.abs(after_V - before_V).max())
    assert largest > 1e-3


def test_without_records_strengths_are_of_the_texts_own_maximum(model):
    member = member_of(model, "blocks.1.hook_resid_post")
    edits = [Edit(11, "add", 1.5), Edit(0, "set", 2.0)]
    args = (model.params, member.sae, padded(TOKENS, 16), np.int32(9), np.int32(8), pack(edits, None))
    found = programs.changes(*args, setting=setting_of(model, member), n=10)
    expected = edited_logits(model, member, TOKENS, edits, lambda latent, f_LxF: f_LxF[:, latent].max())
    np.testing.assert_allclose(found.after_N, np.asarray(jax.nn.softmax(expected[0, 8]))[found.tokens_N], atol=1e-5)
    np.testing.assert_allclose(found.unit_E[:2], latents_of(model, member, TOKENS)[0].max(axis=0)[[11, 0]], rtol=1e-5)


def test_every_position_is_edited_where_none_is_special(model):
    member = member_of(model, "blocks.0.hook_resid_post")
    edits = pack([Edit(2, "add", 1.0)], RECORDED_F)
    args = (model.params, member.sae, TOKENS, np.int32(9), np.int32(0), edits)
    everywhere = programs.changes(*args, setting=setting_of(model, member, exclude_special=False), n=10)
    left_out = programs.changes(*args, setting=setting_of(model, member), n=10)
    assert everywhere.kl > 1e-4 and float(left_out.kl) == pytest.approx(0, abs=1e-6)


def continued(model, member, edits, n, length, temperature=1.0, seed=0):
    tokens_2xL = np.tile(padded(TOKENS, length), (2, 1))
    for i in range(n):
        args = (np.int32(9), np.int32(i), pack(edits, RECORDED_F), np.uint32(seed), np.float32(temperature))
        tokens_2xL = programs.continued(model.params, member.sae, tokens_2xL, *args, setting=setting_of(model, member))
    return np.asarray(tokens_2xL)[:, : 9 + n]


def test_continuations_are_of_their_seed_and_padding_changes_nothing(model):
    member = member_of(model, "blocks.1.hook_resid_post")
    found = continued(model, member, EDITS, 6, 16)
    np.testing.assert_array_equal(found, continued(model, member, EDITS, 6, 32))
    assert (found != continued(model, member, EDITS, 6, 16, seed=1)).any() and (found[0] != found[1]).any()
    same = continued(model, member, [], 6, 16)
    np.testing.assert_array_equal(same[0], same[1])
    np.testing.assert_array_equal(same[0], found[0])


def test_at_temperature_0_the_most_probable_token_is_taken(model):
    member = member_of(model, "blocks.1.hook_resid_post")
    found = continued(model, member, EDITS, 4, 16, temperature=0.0)
    plain = TOKENS
    for _ in range(4):
        logits, _ = gpt2.run(model.params, jnp.asarray(plain[None]), config=model.config)
        plain = np.append(plain, np.int32(logits[0, -1].argmax()))
    np.testing.assert_array_equal(found[0], plain)
    edited = TOKENS
    for _ in range(4):
        logits = edited_logits(model, member, edited, EDITS, recorded)
        edited = np.append(edited, np.int32(logits[0, -1].argmax()))
    np.testing.assert_array_equal(found[1], edited)


def test_edits_that_are_not_asked_for_change_nothing():
    packed = pack([], RECORDED_F)
    assert (packed.keep_E == 1).all() and not packed.add_E.any() and len(packed.latents_E) == N_EDITS
    assert {kind: of(2.0) for kind, of in KINDS.items()} == {"ablate": (0, 0), "scale": (2, 0), "add": (1, 2), "set": (0, 2)}
