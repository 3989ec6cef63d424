"""All records of one member: every activation, every kind of site, determinism, and text that means harm."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from saejax.evaluation.splice import LanguageModel, Spliced
from saejax.features import layout, records
from saejax.features import member as member_lib
from saejax.features.attributes import attributes
from saejax.features.described import Source
from saejax.features.examples import Choice
from saejax.features.member import About, Settings
from saejax.features.records import Vocabulary
from saejax.features.rules import Rules
from saejax.lm import gpt2
from saejax.sae.inference import ACTIVATIONS
from tests.features.conftest import member_of, text_of

SITE = "blocks.1.hook_resid_post"
HOSTILE = ("</script><img src=x onerror=alert(1)>", "\u202e", "🙂", "\x00", "\x1b[2J", "\\xe2\\x82", "'\"`&<", "\ud7ff\n")
SETTINGS = Settings(
    choice=Choice(n_top=3, n_intervals=2, n_of_interval=2, before=5, after=3, seed=0),
    n_ablated=1,
    n_affected=4,
    prompt="x",
    prompt_tokens=(0, 5),
    strengths=(0.0, 1.0),
    n_continued=2,
    exclude_first=True,
    seed=0,
    batch_tokens=64,
)


@pytest.fixture(autouse=True)
def no_umap(monkeypatch):
    monkeypatch.setattr(layout.importlib.util, "find_spec", lambda name: None)


def written(directory, model: LanguageModel, member: Spliced, settings: Settings = SETTINGS, sources=None):
    text = text_of(n_windows=10, vocab_size=60)
    if sources:
        text.windows.sources[:] = [sources[i % len(sources)] for i in range(len(text.windows.sources))]
    words = Vocabulary([HOSTILE[i % len(HOSTILE)] + str(i) for i in range(model.config.vocab_size)], [False] * 199)
    source = Source(model, text, words, Rules(attributes(text, words, {})))
    meta = member_lib.write(directory, About("m", {"name": "small"}, "made up", {"l0": 3.0}), source, member, settings)
    assert records.read_meta(directory) == meta
    return meta, list(records.read_latents(directory)), list(records.read_examples(directory)), text


def activation_of(name: str, member: Spliced) -> Spliced:
    """The member with another σ, and what that needs."""
    F, rng = len(member.sae.W_dec), np.random.default_rng(1)
    fields = {
        "k": {"k": jnp.int32(4), "k_max": 4},
        "threshold": {"threshold": jnp.float32(rng.random(F))},
        "r_mag": {"r_mag": jnp.float32(rng.normal(size=F) / 4)},
        "b_mag": {"b_mag": jnp.float32(rng.normal(size=F) / 4)},
        "residual_threshold": {"residual_threshold": jnp.float32(0.0)},
    }
    more = {key: value for field in ACTIVATIONS[name] for key, value in fields[field].items()}
    return member._replace(sae=member.sae.replace(activation=name, **more))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation(model, name, tmp_path):
    member = activation_of(name, member_of(model, SITE))
    settings = SETTINGS._replace(n_ablated=0, strengths=())
    meta, latents, examples, text = written(tmp_path / "m", model, member, settings)
    assert meta.architecture == name and meta.logits == "direct" and meta.map == "pca" and meta.n_alive > 0
    x = gpt2.run(model.params, jnp.asarray(text.windows.tokens_NxL), config=model.config, capture=(SITE,), logits=False)[1][
        SITE
    ]
    f_NxF = np.asarray(member.sae.encode(x.reshape(len(text.keep_N), -1))) * text.keep_N[:, None]
    assert [latent.n_active for latent in latents] == (f_NxF > 0).sum(0).tolist()
    np.testing.assert_allclose([latent.max_activation for latent in latents], f_NxF.max(0), rtol=1e-4, atol=1e-5)
    for example in examples:
        span = slice(example.address - example.peak, example.address - example.peak + len(example.tokens))
        np.testing.assert_allclose(example.activations, f_NxF[span, example.latent], rtol=1e-3, atol=1e-4)
    assert {len(latent.similar_latents) for latent in latents} == {5}


@pytest.mark.parametrize(
    ("reads", "writes", "logits"),
    [
        ("blocks.1.attn.hook_z", None, True),
        ("blocks.1.mlp.hook_post", None, True),
        ("blocks.2.attn.hook_q", None, False),
        ("hook_embed", None, True),
        ("ln_final.hook_normalized", None, True),
        ("blocks.1.ln2.hook_normalized", "blocks.1.hook_mlp_out", True),
        ("blocks.0.mlp.hook_post", "blocks.1.hook_resid_post", True),
    ],
)
def test_every_kind_of_site(model, reads, writes, logits, tmp_path):
    member = member_of(model, reads, writes, normalize_activations="layer_norm")
    meta, latents, examples, _ = written(tmp_path / "m", model, member)
    assert (meta.reads, meta.writes) == (reads, writes or reads)
    assert (meta.logits == "direct") == logits and bool(latents[0].boosted_tokens) == logits
    wide = member.sae.W_enc.shape[0] != member.sae.W_dec.shape[1]
    assert (latents[0].encoder_decoder_cosine is None) == wide
    assert any(e.loss_change and max(abs(c) for c in e.loss_change if c is not None) > 0 for e in examples)


def test_the_same_settings_make_the_same_bytes_and_batches_do_not_matter(model, tmp_path):
    member = member_of(model, SITE)
    first = written(tmp_path / "a", model, member)
    written(tmp_path / "b", model, member)
    for name in ("latents.parquet", "examples.parquet", "steering.parquet", "vocabulary.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    other = written(tmp_path / "c", model, member, SETTINGS._replace(batch_tokens=1000))
    for one, same in zip(first[2], other[2], strict=True):
        assert (one.latent, one.interval, one.rank, one.address) == (same.latent, same.interval, same.rank, same.address)
        np.testing.assert_allclose(one.activations, same.activations, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(one.loss_change[1:], same.loss_change[1:], atol=1e-4)
    steered = [list(records.read_steering(tmp_path / name)) for name in "ac"]
    assert steered[0] == steered[1]


def test_hostile_text_is_kept_as_it_is(model, tmp_path):
    meta, latents, examples, _ = written(tmp_path / "m", model, member_of(model, SITE), sources=HOSTILE)
    assert {e.source for e in examples} <= set(HOSTILE) and len({e.source for e in examples}) > 3
    assert records.read_vocabulary(tmp_path / "m").text[0] == HOSTILE[0] + "0"
    assert all(c.isprintable() for latent in latents for c in latent.label)


def test_no_effects_are_measured_where_none_are_asked_for(model, tmp_path):
    settings = SETTINGS._replace(n_ablated=0, strengths=())
    meta, _, examples, _ = written(tmp_path / "m", model, member_of(model, SITE), settings)
    assert meta.n_ablated == meta.n_steered == 0 and not any(e.loss_change for e in examples)
    assert list(records.read_steering(tmp_path / "m")) == []


def test_a_member_of_which_nothing_fires(model, tmp_path):
    member = member_of(model, SITE)
    member = member._replace(sae=member.sae.replace(b_enc=member.sae.b_enc - 1e6))
    meta, latents, examples, _ = written(tmp_path / "m", model, member)
    assert meta.n_alive == 0 and examples == [] and len(latents) == 20 and latents[3].boosted_tokens
    assert all(latent.correlated_latents == latent.histogram_counts == [] and latent.density == 0 for latent in latents)


def test_bfloat16(model, tmp_path):
    low = model._replace(dtype=jnp.dtype("bfloat16"))
    meta, _, examples, _ = written(tmp_path / "m", low, member_of(model, SITE))
    assert meta.dtype == "bfloat16" and any(e.loss_change for e in examples)
