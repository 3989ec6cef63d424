"""The model card, read back by parsers of YAML and Python."""

from __future__ import annotations

import ast
import re

import pytest
import yaml

from saejax.errors import InputError
from saejax.interop.card import model_card

NASTY = 'a|b\n# `x` <script>*_[link](http://e)_* "q" \\ \x85\u2028\x00 é 😀 \ud83d $x$ ``` --- ${y}'
EVALUATION = {
    "members": {
        "topk-k32": {"l0": 32.0, "ce_recovered": 0.98765, "dead": 3, "alive": None},
        "relu-l1_1": {"l0": 40.5, "ce_recovered": None},
    },
    "clean": {"ce": 3.21},
    "recommended": {"blocks.2.hook_resid_post": {"member": "topk-k32", "reason": "the knee"}},
}


def front_matter(card):
    assert card.startswith("---\n")
    return yaml.safe_load(card.split("\n---\n")[0])


def cells(line):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_says_what_the_evaluation_says():
    card = model_card(EVALUATION, repo="someone/gpt2-saes", datasets=("Skylion007/openwebtext",), license="mit")
    head = front_matter(card)
    assert head["base_model"] == "openai-community/gpt2" and head["datasets"] == ["Skylion007/openwebtext"]
    assert head["license"] == "mit" and "license" not in front_matter(model_card(EVALUATION, repo="a/b"))
    table = [cells(line) for line in card.splitlines() if line.startswith("|")]
    assert table[0] == ["member", "l0", r"ce\_recovered", "dead", "alive"]
    assert table[2:] == [["**topk-k32**", "32", "0.9877", "3", "–"], [r"relu-l1\_1", "40.5", "–", "–", "–"]]
    assert "ce 3.21" in card and "Recommended: **topk-k32**: the knee" in card
    assert 'load("someone/gpt2-saes:topk-k32")' in card and 'SAE.from_pretrained("someone/gpt2-saes", "topk-k32")' in card


def test_nothing_in_a_name_breaks_the_card():
    evaluation = {
        "members": {NASTY: {NASTY: 1.0}},
        "clean": {NASTY: 1.0},
        "recommended": {"site": {"member": NASTY, "reason": NASTY}},
    }
    card = model_card(evaluation, repo=f"a/{NASTY}", base_model=NASTY, datasets=(NASTY,))
    card.encode("utf-8")
    head = front_matter(card)
    assert head["base_model"] == head["datasets"][0] == NASTY.replace("\ud83d", "\ufffd")
    table = [cells(line) for line in card.splitlines() if line.startswith("|")]
    assert len(table) == 3 and {len(row) for row in table} == {2}
    codes = card.split("```python\n")[1:]
    assert len(codes) == 2
    for code in codes:
        ast.parse(code.split("\n```")[0])
    prose = re.sub(r"```python\n.*?\n```", "", card.split("\n---\n", 1)[1], flags=re.S)
    assert not re.search(r"(?<!\\)<script", prose)
    assert [line for line in prose.splitlines() if line.startswith("#")][1:] == ["## Members", "## How to load"]


@pytest.mark.parametrize("recommended", [None, "topk-k32", {"site": "topk-k32"}, {"site": None}, 3])
def test_other_forms_of_recommendation(recommended):
    assert "topk-k32" in model_card(EVALUATION | {"recommended": recommended}, repo="a/b")


@pytest.mark.parametrize(
    "evaluation",
    [{}, {"members": {}}, {"members": {"a": 3}}, {"members": {"a": {"l0": "many"}}}, {"members": {"a": {"l0": float("nan")}}}],
)
def test_an_evaluation_that_cannot_be_used(evaluation):
    with pytest.raises(InputError) as error:
        model_card(evaluation, repo="a/b")
    assert "evaluation" in str(error.value) and "\n" not in str(error.value)
