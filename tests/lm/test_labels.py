"""Labels of tokens: every token against the text it came from, by offsets that the tokenizer itself gives."""

from __future__ import annotations

import numpy as np
import pytest

from saejax.lm import labels, tokenizer, tokens, weights
from saejax.lm.corpus import Document

NUMPYDOC = """Solve a linear équation — quickly.

Some more words.

Parameters
----------
a : (M, M) array_like
    Coefficients, with "Returns" in the text.

Returns
-------
x : ndarray
    The solution ☃.

Other Parameters
----------------
Args are not a heading here.

Made Up
=======
An unknown section.

====  ====
a     b
----  ----

See Also
--------
lstsq
"""
GOOGLE = """Loads a thing.

Args:
  name: what to load.
  Returns: not a heading, since text follows.

Returns:
  The thing.

Raises:
    ValueError: none.
"""
PLAIN = "No headings at all, only some words of this document, which are many."
SECTIONS_OF = {
    "numpy/linalg/_linalg.py:solve": (
        NUMPYDOC,
        [("summary", "Solve"), ("parameters", "Parameters\n---"), ("returns", "Returns\n---"), ("parameters", "Other Par")]
        + [("other", "Made Up"), ("see also", "See Also\n")],
    ),
    "flax/core/lift.py:Scope.load": (
        GOOGLE,
        [("summary", "Loads"), ("parameters", "Args:"), ("returns", "Returns:\n"), ("raises", "Raises:")],
    ),
    "numpy/ma/extras.py:": (PLAIN, [("summary", "No")]),
}


@pytest.fixture(scope="module")
def bpe():
    return tokenizer.load(weights.find("tiny"))


def packed(bpe, documents, context_size=16, prepend_bos=True):
    """One split that holds all documents, as `tokens.pack` makes it."""
    splits = tokens.pack(
        [Document(source, text) for source, text in documents],
        bpe,
        context_size=context_size,
        n_train=10_000,
        n_held_out=1,
        held_out_fraction=0.0,
        prepend_bos=prepend_bos,
    )
    return splits["train"]


def test_sections_of_every_token(bpe):
    """The section in which each token's first character lies, by the tokenizer's own offsets."""
    documents = [(source, text) for source, (text, _) in SECTIONS_OF.items()]
    windows = packed(bpe, documents)
    found = labels.of_windows(windows, bpe)["section"]
    expected = []
    for text, sections in SECTIONS_OF.values():
        starts = [(text.encode().index(begins.encode()), name) for name, begins in sections]
        expected.append("none")  # <|endoftext|>
        position = 0
        for token in bpe.encode(text, add_special_tokens=False).ids:
            expected.append([name for start, name in starts if start <= position][-1])
            position += len(labels.token_bytes(bpe)[token])
        assert position == len(text.encode())
    names = ["none" if v < 0 else found.names[v] for v in found.value_NxL.ravel()]
    assert names == expected[: len(names)] and len(expected) - len(names) < 16
    assert set(names) == {"none", "summary", "parameters", "returns", "other", "see also", "raises"}


def test_a_heading_belongs_to_its_section_from_its_first_token(bpe):
    windows = packed(bpe, [(source, text) for source, (text, _) in SECTIONS_OF.items()], context_size=8)
    found = labels.of_windows(windows, bpe)["section"]
    flat, values = windows.tokens_NxL.ravel(), found.value_NxL.ravel()
    first = np.flatnonzero((values[1:] == found.names.index("returns")) & (values[:-1] == found.names.index("parameters"))) + 1
    pieces = labels.token_bytes(bpe)
    assert len(first) == 2
    for i in first:
        assert b"".join(pieces[t] for t in flat[i : i + 12]).startswith(b"Returns")


def test_token_bytes_put_any_text_together_again(bpe):
    text = "naïve ☃ \t \x00 \u00a0 “quoted” 日本\n\n    def f(x): return x  # <|endoftext|>"
    pieces = labels.token_bytes(bpe)
    assert b"".join(pieces[t] for t in bpe.encode(text, add_special_tokens=False).ids) == text.encode()
    assert pieces[bpe.token_to_id(weights.END_OF_TEXT)] == b""


def test_packages(bpe):
    windows = packed(bpe, [(source, text) for source, (text, _) in SECTIONS_OF.items()])
    found = labels.of_windows(windows, bpe)["package"]
    assert found.names == ["flax", "numpy"]
    flat = windows.tokens_NxL.ravel()
    for address, value in enumerate(found.value_NxL.ravel()):
        source, position = windows.trace(address)
        assert value == (labels.NO_LABEL if position == 0 else found.names.index(source.split("/")[0]))
    assert flat[0] == bpe.token_to_id(weights.END_OF_TEXT)


def test_first_letters(bpe):
    windows = packed(bpe, [("a.jsonl:0", "The array of 3 Bees, zebra_crossing: the end.\n" * 3)], prepend_bos=False)
    found = labels.of_windows(windows, bpe)
    assert found.keys() == {"first_letter"}  # no packages, no sections: not pydocs
    letters = found["first_letter"]
    for token, value in zip(windows.tokens_NxL.ravel(), letters.value_NxL.ravel()):
        text = bpe.decode([token]).removeprefix(" ")
        is_word = text.isascii() and text.isalpha()
        assert value == ("abcdefghijklmnopqrstuvwxyz".index(text[0].lower()) if is_word else labels.NO_LABEL), text
    assert (letters.value_NxL >= 0).sum() > 20


def test_documents_cut_off_by_the_last_window(bpe):
    windows = packed(bpe, [(source, text) for source, (text, _) in SECTIONS_OF.items()])
    short = tokens.TokenWindows(windows.tokens_NxL[:2], windows.starts, windows.sources, "")
    whole, cut = labels.of_windows(windows, bpe), labels.of_windows(short, bpe)
    for kind in ("section", "package", "first_letter"):
        np.testing.assert_array_equal(cut[kind].value_NxL, whole[kind].value_NxL[:2])
