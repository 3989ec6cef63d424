"""Data in scripts: what is embedded comes back as it was, and is nothing but a value."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import synthetic

from saejax.interface import shards


def value_of(text: str):
    assert text.startswith("saejax.receive(") and text.endswith(");\n")
    return json.loads(text[text.index(",") + 1 : -3])


@pytest.mark.parametrize("text", synthetic.HOSTILE)
def test_hostile_text_comes_back_and_cannot_end_the_script(text, tmp_path):
    shards.write(tmp_path, "x", shards.encode({"text": text, text: [text]}))
    data = (tmp_path / "x.js").read_bytes()
    assert not re.search(rb"[<>&]", data) and data.isascii() and b"\n" not in data[:-1]
    assert value_of(data.decode()) == {"text": text, text: [text]}


def test_what_is_not_json_is_refused():
    with pytest.raises(ValueError):
        shards.encode([float("nan")])


def test_lists_are_cut_into_bounded_files_that_say_where_they_start(tmp_path):
    items = [shards.encode("x" * n) for n in (10, 10, 10, 500, 10)]
    starts = shards.write_list(tmp_path, "a/list", items, limit_bytes=30)
    assert starts == [0, 2, 3, 4]
    found = [value_of(path.read_text()) for path in sorted((tmp_path / "a").iterdir())]
    assert [len(text) for part in found for text in part] == [10, 10, 10, 500, 10]


def test_numbers_are_short_and_near():
    values = np.float32([[0.1, 1234.567, -3e-9], [np.nan, 0, 98765.4]])
    assert shards.rounded(values) == [[0.1, 1235.0, -3e-9], [None, 0.0, 98770.0]]
    random = np.random.default_rng(0).normal(size=1000) * 10.0 ** np.random.default_rng(1).integers(-9, 9, 1000)
    assert np.abs(np.array(shards.rounded(random)) / random - 1).max() <= 5e-4
    assert max(len(repr(x)) for x in shards.rounded(random)) <= 12
