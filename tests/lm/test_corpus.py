"""Text sources: what is read from local files, what is dropped, and what is refused."""

from __future__ import annotations

import hashlib
import itertools
import json

import pytest

from saejax.errors import InputError
from saejax.lm import corpus

ROWS = ["first text", "second\n\ntext", "first text", "", "  \n", "third — ü"]
KEPT = [(0, "first text"), (1, "second\n\ntext"), (5, "third — ü")]


def read(path, **options):
    return [tuple(d) for d in corpus.documents(str(path), **options)]


def refused(match, dataset, **options):
    with pytest.raises(InputError, match=match) as caught:
        list(corpus.documents(str(dataset), **options))
    assert "\n" not in str(caught.value)


def write_jsonl(path, rows, column="text"):
    path.write_text("".join(json.dumps({column: text, "other": 1}) + "\n" for text in rows), encoding="utf-8")
    return path


def write_parquet(path, rows, column="text"):
    parquet = pytest.importorskip("pyarrow.parquet", reason="parquet files are written with pyarrow, which `datasets` needs")
    import pyarrow

    parquet.write_table(pyarrow.table({"other": [1] * len(rows), column: rows}), path)
    return path


def test_a_text_file_is_a_document_a_paragraph(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one line\ntwo lines\n\nsecond\n\nsecond\n\n   \n\nlast", encoding="utf-8")
    assert [text for _, text in read(path)] == ["one line\ntwo lines", "second", "last"]
    assert [source for source, _ in read(path)] == ["a.txt:0", "a.txt:1", "a.txt:4"]


@pytest.mark.parametrize("gap", ["\n\n", "\n\n\n", "\n\n\n\n\n", "\r\n\r\n"])
def test_paragraphs_are_the_same_however_many_empty_lines_part_them(gap, tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(gap.join(["one", "two", "one", "three"]).encode() + b"\n")
    assert [text.rstrip("\n") for _, text in read(path)] == ["one", "two", "three"]


@pytest.mark.parametrize("write", [write_jsonl, write_parquet])
def test_columns_of_files_are_read_without_repeats_and_empty_texts(write, tmp_path):
    kind = write.__name__.removeprefix("write_")
    path = write(tmp_path / f"rows.{kind}", ROWS)
    assert read(path) == [(f"rows.{kind}:{i}", text) for i, text in KEPT]
    assert read(path) == read(path)
    body = write(tmp_path / f"body.{kind}", ROWS, column="body")
    assert [text for _, text in read(body, text_column="body")] == [text for _, text in KEPT]


def test_a_missing_column_is_refused_with_the_columns_there_are(tmp_path):
    refused("--text_column=content: .*text, other", write_jsonl(tmp_path / "a.jsonl", ROWS), text_column="content")
    refused("--text_column=text: .*other, body", write_parquet(tmp_path / "a.parquet", ROWS, "body"))
    refused("--text_column=other: .*not a column of text", write_jsonl(tmp_path / "b.jsonl", ROWS), text_column="other")


def test_a_missing_file_an_empty_file_and_an_unknown_kind_are_refused(tmp_path):
    refused("--dataset=.*absent.jsonl: no such file", tmp_path / "absent.jsonl")
    (tmp_path / "empty.txt").touch()
    refused("--dataset=.*empty.txt: the file is empty", tmp_path / "empty.txt")
    (tmp_path / "table.csv").write_text("text\nhello\n")
    refused("--dataset=.*table.csv: not a kind of file.*.txt, .jsonl, .json, .parquet", tmp_path / "table.csv")
    refused("--dataset=.*: not a kind of file", tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.jsonl", b'{"text": "good"}\nnot json\n'), ("a.txt", b"caf\xe9 noir\n"), ("a.parquet", b"junk"), ("b.jsonl", b"{")],
)
def test_a_file_that_cannot_be_read_is_refused(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    refused(f"--dataset=.*{name}: ", tmp_path / name)


def test_a_dataset_that_cannot_be_had_is_refused(monkeypatch):
    import datasets

    def offline(*args, **options):
        raise ConnectionError("no route to host\nsecond line")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    for read_it in (corpus.check, lambda name: next(corpus.documents(name))):
        with pytest.raises(InputError, match="--dataset=someone/texts: cannot be opened .no route to host") as caught:
            read_it("someone/texts")
        assert "\n" not in str(caught.value)


def test_a_hub_dataset_is_streamed_and_not_read_further_than_asked(monkeypatch):
    import datasets

    asked = {}

    def endless(name, *, split, streaming):
        asked.update(name=name, split=split, streaming=streaming)
        return ({"text": f"text {i // 2}"} for i in itertools.count())

    monkeypatch.setattr(datasets, "load_dataset", endless)
    stream = corpus.documents("someone/texts", split="validation")
    assert [tuple(d) for d in itertools.islice(stream, 3)] == [(f"texts:{2 * i}", f"text {i}") for i in range(3)]
    assert asked == {"name": "someone/texts", "split": "validation", "streaming": True}


def test_held_out_follows_from_the_digest_of_the_text():
    for i in range(50):
        document = corpus.Document(f"source {i}", f"text {i}")
        digest = hashlib.sha256(f"text {i}".encode()).hexdigest()
        assert document.digest.hex() == digest
        for fraction in (0.0, 0.1, 0.5, 1.0):
            assert document.is_held_out(fraction) == (int(digest[:16], 16) / 2**64 < fraction)
