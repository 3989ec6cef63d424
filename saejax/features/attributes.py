"""What can be said of a place in a text without any model: its token, its neighbours, kinds of token, where in the document.

Each attribute gives every address a value or none. A rule of `rules` says "it fires where the attribute has this value".

  token      the token                      form      the token, in any case and with or without a space before it
  pair       the token and the one before   previous  the token before; `skip`: the one before that; `next`: the one after
  class      kinds of token                 start     the first tokens of a document
  section, package                          of documentation strings (`lm.labels`)

Neighbours are within the window and the document.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from saejax.features.records import Vocabulary
from saejax.features.text import Text
from saejax.lm.labels import Labels

NONE = -1
_START_TOKENS = 6
_CLASSES = (
    ("fires on numbers", re.compile(r"\s*[0-9]+")),
    ("fires on line breaks", re.compile(r"\s*\n\s*")),
    ("fires on spaces", re.compile(r"[^\S\n]+")),
    ("fires on punctuation", re.compile(r"\s*[^\w\s]+")),
    ("fires on capitalised words", re.compile(r"\s*[A-Z][a-z]+")),
    ("fires on words in capitals", re.compile(r"\s*[A-Z]{2,}")),
    ("fires on words in small letters", re.compile(r"\s[a-z]+")),
    ("fires inside words", re.compile(r"[a-z]+")),
)


class Attribute(NamedTuple):
    """One kind of thing to say.

    Attributes:
      kind: its name.
      value_N: int32, each address's value; NONE for none.
      describe: value → what is said of a latent that fires on it.
      phrase: for attributes of which several values may be said at once ("fires on `a`, `b` or `c`"): what stands before their
        names; else "".
    """

    kind: str
    value_N: np.ndarray
    describe: Callable[[int], str]
    phrase: str = ""


def attributes(text: Text, vocabulary: Vocabulary, labels: dict[str, Labels]) -> list[Attribute]:
    """All that is known of a text; only addresses that count have values.

    Args:
      text: windows.
      vocabulary: of its tokens.
      labels: "section" and "package" where the text has them.
    """
    tokens, names = text.tokens.astype(np.int32), [shown(t) for t in vocabulary.text]
    previous, skip, after = (_shifted(text, by) for by in (1, 2, -1))
    pairs, pair_N = _pairs(previous, tokens, len(names))
    form_names, form_N = _forms(tokens, vocabulary.text)
    class_N = np.array([_class(t) for t in vocabulary.text], np.int32)[tokens]
    document_position = np.arange(len(tokens)) - text.windows.starts[text.document_of(np.arange(len(tokens)))]
    start_N = np.where(document_position <= _START_TOKENS, 0, NONE)
    found = [
        Attribute("token", tokens, lambda v: f"`{names[v]}`", "fires on"),
        Attribute("form", form_N, lambda v: f"fires on `{form_names[v]}` in any form"),
        Attribute("class", class_N, lambda v: _CLASSES[v][0]),
        Attribute("previous", previous, lambda v: f"`{names[v]}`", "after"),
        Attribute("next", after, lambda v: f"`{names[v]}`", "before"),
        Attribute("skip", skip, lambda v: f"`{names[v]}`", "two after"),
        Attribute("pair", pair_N, lambda v: f"fires on `{names[pairs[v][1]]}` after `{names[pairs[v][0]]}`"),
        Attribute("start", start_N, lambda v: "at the beginning of a document"),
    ]
    for kind, phrase in (("section", "in a section of {}"), ("package", "in the text of {}")):
        if kind in labels:
            own, value_NxL = labels[kind]
            found.append(Attribute(kind, value_NxL.reshape(-1), lambda v, own=own, phrase=phrase: phrase.format(own[v])))
    return [a._replace(value_N=np.where(text.keep_N, a.value_N, NONE).astype(np.int32)) for a in found]


def shown(token: str) -> str:
    """A token's text within a label: line breaks and other control characters as escapes, everything else as it is."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in token)


def _shifted(text: Text, by: int) -> np.ndarray:
    """The token `by` places before (after, where negative) within the window and the document, NONE where there is none."""
    tokens_NxL, L = text.windows.tokens_NxL, text.windows.context_size
    moved_NxL = np.full(tokens_NxL.shape, NONE, np.int32)
    if by > 0:
        moved_NxL[:, by:] = tokens_NxL[:, : L - by]
    else:
        moved_NxL[:, :by] = tokens_NxL[:, -by:]
    addresses = np.arange(tokens_NxL.size)
    same = text.document_of(addresses) == text.document_of(np.clip(addresses - by, 0, tokens_NxL.size - 1))
    return np.where(same, moved_NxL.reshape(-1), NONE)


def _pairs(previous: np.ndarray, tokens: np.ndarray, V: int) -> tuple[list[tuple[int, int]], np.ndarray]:
    """(the pairs that occur more than once, each address's number among them)."""
    key = np.where(previous == NONE, NONE, previous.astype(np.int64) * V + tokens)
    found, number, counts = np.unique(key, return_inverse=True, return_counts=True)
    kept = (counts > 1) & (found != NONE)
    renumbered = np.where(kept, np.cumsum(kept) - 1, NONE)
    return [divmod(int(k), V) for k in found[kept]], renumbered[number].astype(np.int32)


def _forms(tokens: np.ndarray, texts: list[str]) -> tuple[list[str], np.ndarray]:
    """(forms that several tokens share, each address's number among them)."""
    stripped = [t.strip().lower() for t in texts]
    names = sorted(form for form, n in collections.Counter(stripped).items() if form and n > 1)
    number = {form: i for i, form in enumerate(names)}
    of_token = np.array([number.get(form, NONE) for form in stripped], np.int32)
    return names, of_token[tokens]


def _class(token: str) -> int:
    return next((i for i, (_, pattern) in enumerate(_CLASSES) if pattern.fullmatch(token)), NONE)
