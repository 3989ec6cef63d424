"""How tokens are shown: as text where their bytes are UTF-8 by themselves, else as \\xNN escapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saejax.features.records import Vocabulary
from saejax.lm import labels
from saejax.lm.weights import END_OF_TEXT

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def vocabulary(tokenizer: Tokenizer, vocab_size: int) -> Vocabulary:
    """Every token of a byte-level BPE; numbers up to the model's `vocab_size` that it does not use are shown as such."""
    pieces = labels.token_bytes(tokenizer)
    end_of_text = tokenizer.token_to_id(END_OF_TEXT)
    shown = [(END_OF_TEXT, False) if i == end_of_text else _shown(piece) for i, piece in enumerate(pieces)]
    shown += [(f"<unused {i}>", True) for i in range(len(pieces), vocab_size)]
    text, escaped = zip(*shown)
    return Vocabulary(list(text), list(escaped))


def _shown(piece: bytes) -> tuple[str, bool]:
    try:
        return piece.decode(), False
    except UnicodeDecodeError:
        return piece.decode(errors="backslashreplace"), True
