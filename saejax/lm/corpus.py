"""Text sources: `pydocs`, local files, and any HuggingFace dataset, as a stream of deduplicated documents."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from saejax.errors import InputError
from saejax.lm import pydocs

FILE_TYPES = {".txt": "text", ".jsonl": "json", ".json": "json", ".parquet": "parquet"}


class Document(NamedTuple):
    """A text and where it comes from (`numpy/linalg/_linalg.py:norm`, `openwebtext:1234`)."""

    source: str
    text: str

    @property
    def digest(self) -> bytes:
        """SHA-256 of the text: its identity for deduplication and for the split."""
        return hashlib.sha256(self.text.encode()).digest()

    def is_held_out(self, fraction: float) -> bool:
        """Whether the document belongs to the held-out split; depends on its text alone."""
        return int.from_bytes(self.digest[:8], "big") < fraction * 2**64


def check(dataset: str, *, split: str = "train", text_column: str = "text") -> None:
    """Raises InputError where a dataset cannot be opened, or its first documents cannot be read."""
    if dataset == "pydocs":
        return
    _check_path(dataset)
    if next(documents(dataset, split=split, text_column=text_column), None) is None:
        raise InputError(f"--dataset={dataset}: no text in it; give one with text")


def _check_path(dataset: str) -> None:
    suffix = Path(dataset).suffix
    if suffix in FILE_TYPES:
        path = Path(dataset).expanduser()
        if not path.is_file():
            raise InputError(f"--dataset={dataset}: no such file; give 'pydocs', a {_types()} file, or a HuggingFace dataset")
        if path.stat().st_size == 0:
            raise InputError(f"--dataset={dataset}: the file is empty; give one with text")
    elif Path(dataset).expanduser().exists():
        raise InputError(f"--dataset={dataset}: not a kind of file that can be read; allowed are {_types()}")


def documents(dataset: str, *, split: str = "train", text_column: str = "text") -> Iterator[Document]:
    """Streams the documents of a text source, in a fixed order, without repeats or empty ones.

    Args:
      dataset: `pydocs`, a local .txt (a document a paragraph), .jsonl, .json or .parquet file, or a Hub id (streamed).
      split: which split of a Hub dataset.
      text_column: the column that holds the text.

    Raises:
      InputError: a source that cannot be opened, or lacks the column.
    """
    if dataset != "pydocs":
        _check_path(dataset)
    seen: set[bytes] = set()
    for source, text in pydocs.docstrings() if dataset == "pydocs" else _from_datasets(dataset, split, text_column):
        document = Document(source, text.encode("utf-8", "replace").decode())  # a lone surrogate is no text
        if text.strip() and document.digest not in seen:
            seen.add(document.digest)
            yield document


def _from_datasets(dataset: str, split: str, text_column: str) -> Iterator[tuple[str, str]]:
    rows = enumerate(_open(dataset, split))
    while True:
        try:
            i, row = next(rows)
        except StopIteration:
            return
        except Exception as error:  # a broken file shows itself only while it is streamed
            reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
            raise InputError(f"--dataset={dataset}: cannot be read ({reason}); repair the file, or give another") from error
        if text_column in row and row[text_column] is None:
            continue
        if text_column not in row or not isinstance(row[text_column], str):
            raise InputError(
                f"--text_column={text_column}: not a column of text in {dataset}; its columns are {', '.join(row)}"
            )
        text = row[text_column]
        yield f"{Path(dataset).name}:{i}", text.strip("\n") if Path(dataset).suffix == ".txt" else text


def _open(dataset: str, split: str):
    import datasets

    kind = FILE_TYPES.get(Path(dataset).suffix)
    try:
        if kind:
            options = {"sample_by": "paragraph"} if kind == "text" else {}
            files = {"train": str(Path(dataset).expanduser())}
            return datasets.load_dataset(kind, data_files=files, split="train", streaming=True, **options)
        return datasets.load_dataset(dataset, split=split, streaming=True)
    except Exception as error:  # `datasets` and the Hub's client raise many kinds, and all mean: not to be had
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise InputError(
            f"--dataset={dataset}: cannot be opened ({reason}); give 'pydocs', a {_types()} file, "
            "or the name of a HuggingFace dataset that this machine can reach"
        ) from error


def _types() -> str:
    return ", ".join(FILE_TYPES)
