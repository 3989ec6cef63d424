"""What is known of a token without asking a model: its first letter, and in pydocs its package and its section.

  first_letter   of tokens that are a space and letters, or letters alone: the task of Chanin et al. 2024
  package        the first part of the document's name: `numpy` of `numpy/ma/extras.py:mask_rowcols`
  section        of the documentation string: numpydoc's underlined headings and Google style's `Args:`

A section begins with its heading; what stands before the first is the "summary". Text is put together from the tokens' bytes
(byte-level BPE), and a token belongs to the section in which its first byte lies.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from saejax.lm.tokens import TokenWindows
from saejax.lm.weights import END_OF_TEXT

if TYPE_CHECKING:
    from tokenizers import Tokenizer

NO_LABEL = -1
SUMMARY, OTHER = "summary", "other"
# Headings, lower case → the section's name; an underlined heading that is not here is `OTHER`.
SECTIONS = {
    **dict.fromkeys(("parameters", "other parameters", "args", "arguments", "keyword args", "keyword arguments"), "parameters"),
    **dict.fromkeys(("return", "returns"), "returns"),
    **dict.fromkeys(("yield", "yields"), "yields"),
    **dict.fromkeys(("raise", "raises"), "raises"),
    **dict.fromkeys(("warns", "warning", "warnings"), "warnings"),
    **dict.fromkeys(("example", "examples"), "examples"),
    **dict.fromkeys(("note", "notes"), "notes"),
    **dict.fromkeys(("reference", "references"), "references"),
    **{name: name for name in ("see also", "attributes", "methods", "receives", "todo")},
}
_PYDOCS = re.compile(r"^([^/:]+)/[^:]*\.py:")
_FIRST_LETTER = re.compile(rb"^ ?([A-Za-z])[A-Za-z]*$")
# A line of text over a line of at least three - or =; or a known name and a colon, alone on its line.
_UNDERLINED = re.compile(rb"^[ \t]*([^\n]*\S)[ \t]*\n[ \t]*(?:-{3,}|={3,})[ \t]*$", re.MULTILINE)
_COLON = re.compile(rb"^[ \t]*([A-Za-z][A-Za-z ]*):[ \t]*$", re.MULTILINE)


class Labels(NamedTuple):
    """One kind of label: the values' names, and each position's value, int16 [N, L], `NO_LABEL` where it has none."""

    names: list[str]
    value_NxL: np.ndarray


def of_windows(windows: TokenWindows, tokenizer: Tokenizer) -> dict[str, Labels]:
    """Every kind of label that the text gives; only `first_letter` where its documents are not named as pydocs' are.

    Args:
      windows: packed text.
      tokenizer: the byte-level BPE that made it.
    """
    pieces = token_bytes(tokenizer)
    found = {"first_letter": _first_letters(windows, pieces)}
    if windows.sources and all(_PYDOCS.match(source) for source in windows.sources):
        found["section"] = _sections(windows, pieces)
        found["package"] = _packages(windows, tokenizer.token_to_id(END_OF_TEXT))
    return found


def token_bytes(tokenizer: Tokenizer) -> list[bytes]:
    """The bytes that each token stands for, by its number; none for `<|endoftext|>`.

    Source: Radford et al. 2019, `bytes_to_unicode`: a byte that is no printable character is written as one above 255.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [b for b in range(256) if b not in printable]
    byte_of = {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}
    pieces = [b""] * tokenizer.get_vocab_size()
    for text, i in tokenizer.get_vocab().items():
        if text != END_OF_TEXT:
            pieces[i] = bytes(byte_of[c] for c in text) if all(c in byte_of for c in text) else text.encode()
    return pieces


def sections(text: bytes) -> list[tuple[int, str]]:
    """(offset of its first byte, name) of each section of a documentation string, rising; the summary at 0 comes first."""
    found = {0: SUMMARY}
    for match in _COLON.finditer(text):
        name = SECTIONS.get(match[1].decode().lower())
        if name:
            found[match.start()] = name
    for match in _UNDERLINED.finditer(text):
        if not set(match[1]) <= set(b"-= "):  # a table's rule, and not a heading
            found[match.start()] = SECTIONS.get(match[1].decode("utf-8", "replace").rstrip(":").lower(), OTHER)
    return [(offset, found[offset]) for offset in sorted(found)]


def _documents(windows: TokenWindows) -> Iterator[tuple[int, np.ndarray]]:
    """(document, its tokens, as many of them as the windows hold)."""
    flat = windows.tokens_NxL.reshape(-1)
    starts = windows.starts[windows.starts < len(flat)]
    for document, (start, end) in enumerate(zip(starts, [*starts[1:], len(flat)])):
        yield document, flat[start:end]


def _first_letters(windows: TokenWindows, pieces: list[bytes]) -> Labels:
    names = [chr(ord("a") + i) for i in range(26)]
    of_token = np.full(len(pieces), NO_LABEL, np.int16)
    for token, piece in enumerate(pieces):
        match = _FIRST_LETTER.match(piece)
        if match:
            of_token[token] = match[1].lower()[0] - ord("a")
    return Labels(names, of_token[windows.tokens_NxL])


def _packages(windows: TokenWindows, end_of_text: int) -> Labels:
    packages = [_PYDOCS.match(source)[1] for source in windows.sources]
    names = sorted(set(packages))
    value_NxL = np.empty(windows.tokens_NxL.size, np.int16)
    position = 0
    for document, tokens in _documents(windows):
        value_NxL[position : position + len(tokens)] = names.index(packages[document])
        position += len(tokens)
    value_NxL = value_NxL.reshape(windows.tokens_NxL.shape)
    return Labels(names, np.where(windows.tokens_NxL == end_of_text, NO_LABEL, value_NxL).astype(np.int16))


def _sections(windows: TokenWindows, pieces: list[bytes]) -> Labels:
    names = list(dict.fromkeys((SUMMARY, *SECTIONS.values(), OTHER)))
    length = np.array([len(piece) for piece in pieces])
    values = []
    for _, tokens in _documents(windows):
        first_byte = np.cumsum(length[tokens]) - length[tokens]
        offsets, found = zip(*sections(b"".join(pieces[token] for token in tokens)))
        section = np.searchsorted(offsets, first_byte, side="right") - 1
        value = np.array([names.index(name) for name in found])[section]
        values.append(np.where(length[tokens] > 0, value, NO_LABEL))
    return Labels(names, np.concatenate(values).astype(np.int16).reshape(windows.tokens_NxL.shape))
