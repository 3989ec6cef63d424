"""Labels on planted text, and every attribute against a loop."""

from __future__ import annotations

import numpy as np
import pytest

from saejax.features.attributes import NONE, attributes, shown
from saejax.features.records import Vocabulary
from saejax.features.rules import NO_RULE, Rules
from saejax.features.vocabulary import vocabulary
from saejax.lm import tokenizer, weights
from saejax.lm.labels import Labels
from tests.features.conftest import text_of

WORDS = [
    "<|endoftext|>",
    " dtype",
    "dtype",
    " Dtype",
    " Returns",
    " 12",
    "\n",
    "    ",
    "()",
    " NaN",
    " the",
    "ing",
    " ABC",
    "é",
]


@pytest.fixture(scope="module")
def known():
    text = text_of(n_windows=40, vocab_size=len(WORDS))
    section = np.repeat(np.arange(4, dtype=np.int16), 160).reshape(40, 16)
    words = Vocabulary(WORDS, [False] * len(WORDS))
    return text, attributes(text, words, {"section": Labels(["notes", "returns", "args", "see"], section)})


def test_attributes_are_what_a_loop_says(known):
    text, found = known
    tokens, starts = text.tokens, set(text.windows.starts.tolist())
    value = {a.kind: a.value_N for a in found}
    pairs = {}
    for i, token in enumerate(tokens):
        if not text.keep_N[i]:
            assert all(own[i] == NONE for own in value.values())
            continue
        neighbours = {}
        for name, by in (("previous", -1), ("skip", -2), ("next", 1)):
            j = i + by
            between = range(min(i, j) + 1, max(i, j) + 1)
            inside = 0 <= j < len(tokens) and j // 16 == i // 16 and not starts & set(between)
            neighbours[name] = tokens[j] if inside else NONE
        assert value["token"][i] == token
        assert {name: value[name][i] for name in neighbours} == neighbours
        pairs.setdefault(value["pair"][i], set()).add((neighbours["previous"], token))
        assert value["section"][i] == i // 160
    assert all(len(own) == 1 for number, own in pairs.items() if number != NONE)


def rule_of(known, active_N, values=None):
    text, found = known
    rows = np.flatnonzero(active_N & text.keep_N)
    return Rules(found).best(rows, np.float32(np.ones(len(rows)) if values is None else values[rows]))


def test_planted_labels_are_found(known):
    text, found = known
    tokens = text.tokens
    before = np.roll(tokens, 1)
    before[[0, *text.windows.starts]] = NONE
    before[::16] = NONE
    cases = {
        "fires on ` dtype`": tokens == 1,
        "fires on `dtype` in any form": np.isin(tokens, (1, 2, 3)),
        "after ` Returns`": before == 4,
        "fires on numbers": tokens == 5,
        "in a section of returns": np.arange(len(tokens)) // 160 == 1,
        "fires on `()` after ` the`": (before == 10) & (tokens == 8),
        "before `()` or ` NaN`": np.isin(np.where(np.roll(before == NONE, -1), NONE, np.roll(tokens, -1)), (8, 9)),
    }
    for label, active_N in cases.items():
        rule = rule_of(known, active_N)
        if label == "fires on numbers":  # one token is all the numbers here are
            label = "fires on ` 12`"
        assert rule.label == label and rule.precision == 1.0 and rule.recall == pytest.approx(1.0), (label, rule)


def test_precision_is_of_rows_and_recall_of_activation(known):
    text, _ = known
    tokens, rng = text.tokens, np.random.default_rng(0)
    active_N = ((tokens == 4) & (rng.random(len(tokens)) < 0.8)) | (rng.random(len(tokens)) < 0.05)
    values = np.where(tokens == 4, 3.0, 0.5)
    rule = rule_of(known, active_N, values)
    rows = np.flatnonzero(active_N & text.keep_N)
    on_rule = tokens[rows] == 4
    assert rule.label == "fires on ` Returns`" and rule.kind == "token"
    assert rule.precision == pytest.approx(on_rule.sum() / (text.keep_N & (tokens == 4)).sum())
    assert rule.recall == pytest.approx(values[rows][on_rule].sum() / values[rows].sum())


def test_nothing_is_said_of_noise(known):
    text, _ = known
    assert rule_of(known, np.random.default_rng(0).random(len(text.tokens)) < 0.1) == NO_RULE
    assert rule_of(known, np.zeros(len(text.tokens), bool)) == NO_RULE


def test_labels_show_control_characters_as_escapes():
    assert shown("a\n\x07\u202e</script>🙂`") == "a\\n\\x07\\u202e</script>🙂`"


def test_every_token_is_shown():
    bpe = tokenizer.load(weights.find("tiny"))
    found = vocabulary(bpe, bpe.get_vocab_size() + 2)
    assert len(found.text) == len(found.escaped) == bpe.get_vocab_size() + 2
    assert found.text[-1] == f"<unused {bpe.get_vocab_size() + 1}>" and found.escaped[-1]
    for text in ("The dtype", "</script><img onerror=x>", "naïve", "\u202e", "\x00\x1b"):
        ids = bpe.encode(text, add_special_tokens=False).ids
        if not any(found.escaped[i] for i in ids):
            assert "".join(found.text[i] for i in ids) == text
    halves = bpe.encode("🙂", add_special_tokens=False).ids
    assert len(halves) > 1 and all(found.escaped[i] for i in halves)
    assert "".join(found.text[i] for i in halves) == "\\xf0\\x9f\\x99\\x82"
    assert found.text[bpe.token_to_id("<|endoftext|>")] == "<|endoftext|>"
