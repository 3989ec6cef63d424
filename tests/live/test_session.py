"""A session on the tiny model: text in, plain values out, and nothing compiled after it is warm."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saejax.errors import InputError
from saejax.evaluation.splice import LanguageModel, Spliced
from saejax.live import programs
from saejax.live.edits import Edit
from saejax.live.known import Known
from saejax.live.session import N_SAMPLED, Session
from saejax.lm import gpt2, tokenizer, weights
from tests.features.conftest import member_of

CONTEXT = 40
RECORDED_F = np.full(20, 2.0, np.float32)


@pytest.fixture(scope="module")
def tiny() -> LanguageModel:
    config, params = weights.load(weights.find("tiny"))
    return LanguageModel(params, config, jnp.dtype("float32"))


@pytest.fixture(scope="module")
def members(tiny) -> dict[str, Spliced]:
    return {
        "a": member_of(tiny, "blocks.1.hook_resid_post"),
        "b": member_of(tiny, "blocks.1.hook_resid_post", seed=1),
        "through": member_of(tiny, "blocks.1.ln2.hook_normalized", "blocks.1.hook_mlp_out"),
    }


@pytest.fixture(scope="module")
def session(tiny, members) -> Session:
    known = {"a": Known(RECORDED_F, ["fires on `a`"] * 20, [[0, 1]] * 20)}
    bpe = tokenizer.load(weights.find("tiny"))
    made = Session(tiny, bpe, members, known, context_size=CONTEXT, prepend_bos=True, exclude_special=True)
    told = []
    made.warm_up(told.append)
    assert sum(told) == made.n_programs == 3 * 2 * 2, "a and b share their programs"
    return made


def test_what_there_is(session):
    assert [m["name"] for m in session.members()] == ["a", "b", "through"]
    assert session.members()[2] == {
        "name": "through",
        "reads": "blocks.1.ln2.hook_normalized",
        "writes": "blocks.1.hook_mlp_out",
        "n_latents": 20,
        "recorded": False,
    }


def test_a_text_is_looked_at(session, tiny, members):
    text = "Return a new array."
    found = session.look(member="a", text=text, latents=[3, 5])
    bpe = tokenizer.load(weights.find("tiny"))
    tokens = [bpe.token_to_id(weights.END_OF_TEXT), *bpe.encode(text).ids]
    assert "".join(shown for shown, _ in found["tokens"]) == f"<|endoftext|>{text}"
    assert found["n_given"] == len(tokens) and found["limit"] == CONTEXT
    _, captured = gpt2.run(
        tiny.params, jnp.asarray([tokens]), config=tiny.config, capture=("blocks.1.hook_resid_post",), logits=False
    )
    f_LxF = np.array(members["a"].sae.encode(captured["blocks.1.hook_resid_post"][0]))
    f_LxF[0] = 0.0
    np.testing.assert_allclose(found["activations"][5], f_LxF[:, 5], rtol=1e-4, atol=1e-5)
    for row, f_F in zip(found["strongest"], f_LxF):
        order = np.argsort(-f_F)[: len(row)]
        assert [latent for latent, _ in row] == order.tolist() and len(row) == min(12, (f_F > 0).sum())
    assert set(found["labels"].values()) == {"fires on `a`"} and set(found["max_activations"].values()) == {2.0}
    assert session.look(member="b", text=text, latents=[])["labels"] == {}
    json.dumps(found, allow_nan=False)


def test_nothing_is_compiled_after_warming_up(session):
    compiled = [p._cache_size() for p in (programs.activations, programs.changes, programs.continued)]
    for member in ("a", "b", "through"):
        for text in ("", "x", "word " * 30, "word " * 500):
            session.look(member=member, text=text, latents=[1])
            session.change(member=member, text=text, edits=[Edit(1, "add", 1.0)], position=None)
            session.sample(member=member, text=text, edits=[], seed=3, temperature=0.5)
    assert [p._cache_size() for p in (programs.activations, programs.changes, programs.continued)] == compiled


def test_long_texts_are_cut_at_the_context_and_have_no_continuation(session):
    found = session.look(member="a", text="word " * 500, latents=[])
    assert len(found["tokens"]) == len(found["strongest"]) == CONTEXT < found["n_given"]
    assert session.sample(member="a", text="word " * 500, edits=[], seed=0, temperature=1.0) == {"before": [], "after": []}
    short = session.sample(member="a", text="x", edits=[], seed=0, temperature=1.0)
    assert len(short["before"]) == N_SAMPLED and short["before"] == short["after"]


def test_edits_change_the_next_token(session):
    question = {"member": "a", "text": "Return a new", "position": None}
    plain = session.change(**question, edits=[])
    assert plain["kl"] == pytest.approx(0, abs=1e-6) and plain["next"]["before"] == pytest.approx(plain["next"]["after"])
    assert plain["token"] == [" new", False] and plain["position"] == 3
    turned = session.change(**question, edits=[Edit(4, "add", 5.0)])
    assert turned["kl"] > 0.01 and turned["units"] == [2.0] and turned["loss_change"][0] is None
    assert len(turned["loss_change"]) == 4
    json.dumps(turned, allow_nan=False)
    with pytest.raises(InputError, match="4 tokens"):
        session.change(**question | {"position": 4}, edits=[])


def test_any_text_is_text(session):
    for text in ("", "\x00\x1b[31m", "half \ud83d", "👩‍🚀", "<|endoftext|>", "\u202e</script>"):
        found = session.look(member="a", text=text, latents=[])
        assert found["tokens"][0] == ["<|endoftext|>", False]
        assert text == "" or len(found["tokens"]) > 1
    shown = session.look(member="a", text="<|endoftext|>", latents=[])["tokens"]
    assert len(shown) > 2, "typed, it is no special token"
    assert jax.tree.leaves(session.look(member="a", text="half \ud83d", latents=[])["tokens"])
