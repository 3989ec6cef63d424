"""How fast text is read and tokenised: its first documents, packed as `extract` packs them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from saejax.errors import InputError
from saejax.lm import tokens
from saejax.lm.corpus import FILE_TYPES, Document
from saejax.lm.tokens import TokenWindows


class Text(NamedTuple):
    """What the first documents say of the rest.

    Attributes:
      windows: their text, packed.
      first_seconds: until the first document came.
      read_seconds, encode_seconds: a token of reading and of tokenising.
      most_tokens: as many as the whole text can have; None where only reading it would tell (pydocs, Hub data sets).
    """

    windows: TokenWindows
    first_seconds: float
    read_seconds: float
    encode_seconds: float
    most_tokens: int | None

    @property
    def document_tokens(self) -> float:
        """Mean tokens of a document."""
        return self.windows.tokens_NxL.size / max(1, len(self.windows.starts))

    def seconds(self, n_train: int, n_held_out: int, held_out_fraction: float) -> float:
        """Of making both splits: documents are read until both are full, and tokenised into those that are not."""
        read = max(n_train / (1 - held_out_fraction), n_held_out / held_out_fraction)
        read = min(read, self.most_tokens or read)
        return self.first_seconds + read * self.read_seconds + (n_train + n_held_out) * self.encode_seconds


class _Timed:
    """Documents, until a time is up; remembers how long reading took."""

    def __init__(self, documents: Iterable[Document], budget_seconds: float):
        self._documents, self._budget = iter(documents), budget_seconds
        self.first_seconds = self.seconds = 0.0
        self.n_bytes = self.n_documents = 0
        self.ended = False

    def __iter__(self) -> Iterator[Document]:
        begun = start = time.monotonic()
        for document in self._documents:
            taken = time.monotonic() - start
            if self.n_documents:
                self.seconds += taken
            else:
                self.first_seconds = taken
            self.n_documents += 1
            self.n_bytes += len(document.text.encode())
            yield document
            start = time.monotonic()
            if start - begun > self.first_seconds + self._budget:
                return
        self.ended = True


def measure(
    documents: Iterable[Document], tokenizer, *, dataset: str, context_size: int, prepend_bos: bool, budget_seconds: float
) -> Text:
    """Packs documents for some seconds.

    Args:
      documents: the text.
      tokenizer: the model's.
      dataset: where the text is from: the size of a local text file bounds its tokens.
      context_size: tokens in a window.
      prepend_bos: whether `<|endoftext|>` stands before each document.
      budget_seconds: how long, after the first document.

    Raises:
      InputError: less text than a window.
    """
    timed = _Timed(documents, budget_seconds)
    start = time.monotonic()
    splits = tokens.pack(
        timed,
        tokenizer,
        context_size=context_size,
        n_train=10**12,
        n_held_out=1,
        held_out_fraction=0.0,  # so that all is of one split
        prepend_bos=prepend_bos,
    )
    seconds, windows = time.monotonic() - start, splits["train"]
    n = windows.tokens_NxL.size
    if not n:
        raise InputError(
            f"--dataset={dataset}: less than one window of --context_size={context_size} tokens; give more text, or a smaller "
            "context"
        )
    encode = max(0.0, seconds - timed.first_seconds - timed.seconds) / n
    return Text(windows, timed.first_seconds, timed.seconds / n, encode, _most_tokens(dataset, timed, n))


def _most_tokens(dataset: str, timed: _Timed, n_tokens: int) -> int | None:
    if timed.ended:
        return n_tokens
    if FILE_TYPES.get(Path(dataset).suffix) in ("text", "json"):
        return round(Path(dataset).expanduser().stat().st_size * n_tokens / max(1, timed.n_bytes))
    return None
