"""The byte-level BPE: training, the special token, files that `transformers` reads."""

from __future__ import annotations

import functools
import json

import pytest

from saejax.errors import InputError
from saejax.lm import tokenizer
from saejax.lm.weights import END_OF_TEXT

TEXTS = ["the cat sat on the mat", "the dog sat on the log\n\tindented, with digits 123", "naïve café — ünïcode 日本 🙂"] * 5


@functools.cache
def bpe():
    return tokenizer.train(TEXTS, 300)


def ids(tok, text):
    return tok.encode(text, add_special_tokens=False).ids


def test_training_reaches_the_vocabulary_with_end_of_text_as_token_0():
    assert bpe().get_vocab_size() == 300
    assert bpe().token_to_id(END_OF_TEXT) == 0
    assert bpe().encode("the cat").tokens[0] == "the", "a word seen often is one token"


def test_training_is_deterministic():
    assert tokenizer.train(TEXTS, 300).to_str() == bpe().to_str()


@pytest.mark.parametrize("text", [*TEXTS[:3], " leading", "trailing \n", "\x00\x7f", "", "никогда", "a" * 50])
def test_any_text_comes_back_from_its_tokens(text):
    assert bpe().decode(ids(bpe(), text), skip_special_tokens=False) == text


def test_end_of_text_within_a_text_is_ordinary_text(tmp_path):
    tokenizer.save(bpe(), tmp_path, 16)
    for tok in (bpe(), tokenizer.load(tmp_path)):
        encoded = ids(tok, f"the cat{END_OF_TEXT}the dog")
        assert 0 not in encoded
        assert tok.decode(encoded, skip_special_tokens=False) == f"the cat{END_OF_TEXT}the dog"
        assert [0 in e.ids for e in tok.encode_batch([END_OF_TEXT, "cat"], add_special_tokens=False)] == [False, False]


def test_a_saved_tokenizer_is_loaded_with_the_same_ids(tmp_path):
    tokenizer.save(bpe(), tmp_path / "new", 16)
    loaded = tokenizer.load(tmp_path / "new")
    assert loaded.get_vocab() == bpe().get_vocab()
    for text in [*TEXTS[:3], f"x{END_OF_TEXT}", "unseen words, qwerty"]:
        assert ids(loaded, text) == ids(bpe(), text)


def test_transformers_loads_a_saved_tokenizer_with_the_same_ids(tmp_path):
    transformers = pytest.importorskip("transformers", reason="AutoTokenizer is the oracle")
    tokenizer.save(bpe(), tmp_path, 16)
    auto = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert auto.bos_token_id == auto.eos_token_id == 0
    assert auto.model_max_length == 16
    for text in [*TEXTS[:3], "unseen words, qwerty  two spaces"]:
        assert auto.encode(text, add_special_tokens=False) == ids(bpe(), text)
        assert auto.decode(ids(bpe(), text)) == text


def test_vocab_and_merges_alone_are_read(tmp_path, testdata):
    model = json.loads(bpe().to_str())["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = "".join(f"{a} {b}\n" for a, b in model["merges"])
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + merges)
    (tmp_path / "config.json").write_text((testdata / "tiny_gpt2" / "config.json").read_text())
    loaded = tokenizer.load(tmp_path)
    for text in [*TEXTS[:3], f"the cat{END_OF_TEXT}the dog"]:
        assert ids(loaded, text) == ids(bpe(), text)
    assert loaded.token_to_id(END_OF_TEXT) == 0


def refused(directory, match):
    with pytest.raises(InputError, match=match) as caught:
        tokenizer.load(directory)
    assert "\n" not in str(caught.value) and str(directory) in str(caught.value)


def test_a_directory_without_a_tokenizer_is_refused(tmp_path):
    refused(tmp_path, "no tokenizer.json")
    (tmp_path / "vocab.json").write_text("{}")
    refused(tmp_path, "no tokenizer.json, nor vocab.json and merges.txt")


def test_a_tokenizer_without_end_of_text_is_refused(tmp_path):
    settings = json.loads(bpe().to_str())
    settings["added_tokens"] = []
    del settings["model"]["vocab"][END_OF_TEXT]
    (tmp_path / "tokenizer.json").write_text(json.dumps(settings))
    refused(tmp_path, "has no <.endoftext.>")


def test_a_broken_tokenizer_file_is_refused(tmp_path):
    (tmp_path / "tokenizer.json").write_text(bpe().to_str()[:100])
    refused(tmp_path, "tokenizer")


def test_lengths_that_a_tokenizer_was_saved_with_are_not_applied(tmp_path):
    bpe = tokenizer.train(["some words to learn from, again and again"] * 3, 300)
    bpe.enable_truncation(4)
    bpe.enable_padding(length=16)
    tokenizer.save(bpe, tmp_path, 8)
    text = "words and words and words to learn from"
    ids = tokenizer.load(tmp_path).encode(text, add_special_tokens=False).ids
    assert tokenizer.load(tmp_path).decode(ids) == text
