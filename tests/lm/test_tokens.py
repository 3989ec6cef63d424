"""Packing text into windows, against an oracle that keeps every token's document and position in a list."""

from __future__ import annotations

import functools
import hashlib
import itertools

import numpy as np
import pytest

from saejax.lm import tokenizer, tokens
from saejax.lm.corpus import Document

WORDS = "alpha beta gamma delta epsilon zeta eta theta iota kappa".split()


def document(i):
    generator = np.random.default_rng(i)
    words = generator.choice(WORDS, generator.integers(1, 12))
    return Document(f"file{i}.py:name", f"{' '.join(words)} {i}")


@functools.cache
def bpe():
    return tokenizer.train((document(i).text for i in range(200)), 300)


def pack(documents, **changed):
    options = {"context_size": 16, "n_train": 800, "n_held_out": 300, "held_out_fraction": 0.3, "prepend_bos": True}
    return tokens.pack(documents, bpe(), **{**options, **changed})


def oracle(documents, fraction, prepend_bos):
    """For each split, its stream as a list of (token, source, position)."""
    streams = {"train": [], "held_out": []}
    for source, text in documents:
        number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
        ids = [0] * prepend_bos + bpe().encode(text, add_special_tokens=False).ids
        streams["held_out" if number < fraction else "train"] += [(t, source, i) for i, t in enumerate(ids)]
    return streams


@pytest.mark.parametrize("prepend_bos", [True, False])
def test_windows_are_the_stream_and_every_token_is_traced(prepend_bos):
    documents = [document(i) for i in range(300)]
    splits = pack(documents, prepend_bos=prepend_bos)
    for name, stream in oracle(documents, 0.3, prepend_bos).items():
        windows = splits[name]
        assert windows.tokens_NxL.dtype == np.int32 and windows.context_size == 16
        assert windows.tokens_NxL.shape[0] == {"train": 50, "held_out": 19}[name]
        flat = windows.tokens_NxL.ravel().tolist()
        assert flat == [token for token, _, _ in stream[: len(flat)]]
        assert [windows.trace(a) for a in range(len(flat))] == [(s, i) for _, s, i in stream[: len(flat)]]
        n_starts = sum(i == 0 for _, _, i in stream[: len(flat)])
        assert flat.count(0) == (n_starts if prepend_bos else 0)


def test_a_token_after_an_empty_document_is_traced_to_its_own():
    texts = ["alpha beta", "", "", "gamma"]
    splits = pack([Document(f"d{i}", t) for i, t in enumerate(texts)], prepend_bos=False, context_size=1, held_out_fraction=0.0)
    windows = splits["train"]
    n = len(bpe().encode("alpha beta").ids)
    assert windows.trace(n - 1) == ("d0", n - 1)
    assert windows.trace(n) == ("d3", 0)


def test_a_split_is_shorter_where_the_text_ends_first():
    documents = [document(i) for i in range(20)]
    splits = pack(documents, n_train=10**6, n_held_out=10**6)
    for name, stream in oracle(documents, 0.3, True).items():
        assert splits[name].tokens_NxL.shape[0] == len(stream) // 16
    assert pack([])["train"].tokens_NxL.shape == (0, 16)


def test_splits_are_disjoint_and_depend_on_the_text_alone():
    documents = [document(i) for i in range(400)]
    source_to_text = dict(documents)
    everything = {"n_train": 10**6, "n_held_out": 10**6}
    splits = pack(documents, **everything)
    texts = {name: {source_to_text[s] for s in windows.sources} for name, windows in splits.items()}
    assert texts["train"].isdisjoint(texts["held_out"])
    assert texts["train"] | texts["held_out"] == set(source_to_text.values())
    assert 0.2 < len(texts["held_out"]) / 400 < 0.4

    renamed = [Document(f"other{i}", d.text) for i, d in enumerate(reversed(documents))]
    other_text = dict(renamed)
    for name, windows in pack(renamed, **everything).items():
        assert {other_text[s] for s in windows.sources} == texts[name]


@pytest.mark.parametrize(("fraction", "empty"), [(0.0, "held_out"), (1.0, "train")])
def test_a_fraction_of_nothing_or_all_leaves_the_other_split_empty(fraction, empty):
    splits = pack([document(i) for i in range(50)], held_out_fraction=fraction)
    assert [name for name, windows in splits.items() if not windows.tokens_NxL.size] == [empty]


def test_reading_stops_when_both_splits_are_full():
    n_read = 0

    def endless():
        nonlocal n_read
        for i in itertools.count():
            n_read += 1
            yield document(i)

    splits = pack(endless())
    n_needed = max(int(source[4:].split(".")[0]) for windows in splits.values() for source in windows.sources) + 1
    assert n_needed <= n_read <= n_needed + tokens._ENCODE_AT_ONCE


def test_the_wanted_tokens_are_rounded_up_to_whole_windows():
    splits = pack((document(i) for i in itertools.count()), n_train=33, n_held_out=32)
    assert splits["train"].tokens_NxL.shape == (3, 16)
    assert splits["held_out"].tokens_NxL.shape == (2, 16)
    long = pack([Document("long", "alpha beta " * 200)], held_out_fraction=0.0, n_train=33, n_held_out=0)
    assert long["train"].tokens_NxL.shape == (3, 16), "no more than was wanted, however long the last document"


def test_the_fingerprint_follows_the_texts_that_were_packed():
    documents = [document(i) for i in range(300)]
    splits = pack(documents)
    assert {n: w.fingerprint for n, w in pack(documents).items()} == {n: w.fingerprint for n, w in splits.items()}
    assert splits["train"].fingerprint != splits["held_out"].fingerprint
    text = {source: t for source, t in documents}
    for windows in splits.values():
        digests = b"".join(hashlib.sha256(text[s].encode()).digest() for s in windows.sources)
        assert windows.fingerprint == hashlib.sha256(digests).hexdigest()[:16]


def test_what_is_saved_is_loaded(tmp_path):
    splits = pack([document(i) for i in range(300)])
    tokens.save(splits, tmp_path / "tokens")
    loaded = tokens.load(tmp_path / "tokens")
    assert set(loaded) == {"train", "held_out"}
    for name, windows in splits.items():
        np.testing.assert_array_equal(loaded[name].tokens_NxL, windows.tokens_NxL)
        assert loaded[name].tokens_NxL.dtype == np.int32
        assert loaded[name].fingerprint == windows.fingerprint and loaded[name].sources == windows.sources
        assert [loaded[name].trace(a) for a in range(40)] == [windows.trace(a) for a in range(40)]
        np.testing.assert_array_equal(loaded[name].special_mask(0), windows.special_mask(0))
    assert [p.name for p in tmp_path.iterdir()] == ["tokens"]


def test_the_special_mask_is_end_of_text_and_first_positions():
    windows = tokens.TokenWindows(np.asarray([[5, 7, 9, 7], [7, 1, 2, 3]], np.int32), np.zeros(1), ["a"], "")
    expected = [[True, True, False, True], [True, False, False, False]]
    assert windows.special_mask(7).tolist() == expected
    assert windows.special_mask(0).tolist() == [[True, False, False, False]] * 2
