"""Text → fixed windows of tokens, in a training and a held-out split by document.

Documents are laid end to end, each after `<|endoftext|>` where `prepend_bos` is set, and cut into windows of
`context_size`. A token's place in this stream (window · context_size + position) is its address: the store of
activations keeps it for each row, and `TokenWindows.trace` gives the document and the position there.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from saejax import console, files
from saejax.errors import InputError
from saejax.lm.corpus import Document
from saejax.lm.weights import END_OF_TEXT

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPLITS = ("train", "held_out")
_ENCODE_AT_ONCE = 256


@dataclasses.dataclass(frozen=True)
class TokenWindows:
    """One split's text, tokenised and packed.

    Attributes:
      tokens_NxL: int32 windows.
      starts: int64, for each document the address of its first token.
      sources: for each document where it comes from.
      fingerprint: of the documents' text, in order.
    """

    tokens_NxL: np.ndarray
    starts: np.ndarray
    sources: list[str]
    fingerprint: str

    @property
    def context_size(self) -> int:
        """L, tokens in a window."""
        return self.tokens_NxL.shape[1]

    def trace(self, address: int) -> tuple[str, int]:
        """The (source, position in tokens within the document) of a token by its address in the stream."""
        document = int(np.searchsorted(self.starts, address, side="right")) - 1
        return self.sources[document], int(address - self.starts[document])

    def special_mask(self, end_of_text: int) -> np.ndarray:
        """bool [N, L]: the `<|endoftext|>` tokens and each window's first position, whose activations are outliers."""
        mask_NxL = self.tokens_NxL == end_of_text
        mask_NxL[:, 0] = True
        return mask_NxL


class _Packer:
    """Collects one split's documents until it has enough tokens."""

    def __init__(self, n_tokens: int, context_size: int):
        self.n_wanted = -(-n_tokens // context_size) * context_size
        self.context_size = context_size
        self.n = 0
        self.pieces: list[np.ndarray] = []
        self.starts: list[int] = []
        self.sources: list[str] = []
        self.hash = hashlib.sha256()

    @property
    def full(self) -> bool:
        return self.n >= self.n_wanted

    def add(self, document: Document, ids: list[int]) -> None:
        self.starts.append(self.n)
        self.sources.append(document.source)
        self.pieces.append(np.asarray(ids, np.int32))
        self.hash.update(document.digest)
        self.n += len(ids)

    def windows(self) -> TokenWindows:
        flat = np.concatenate(self.pieces) if self.pieces else np.zeros(0, np.int32)
        n_windows = min(self.n, self.n_wanted) // self.context_size
        tokens_NxL = flat[: n_windows * self.context_size].reshape(n_windows, self.context_size)
        return TokenWindows(tokens_NxL, np.asarray(self.starts, np.int64), self.sources, self.hash.hexdigest()[:16])


def pack(
    documents: Iterable[Document],
    tokenizer: Tokenizer,
    *,
    context_size: int,
    n_train: int,
    n_held_out: int,
    held_out_fraction: float,
    prepend_bos: bool = True,
) -> dict[str, TokenWindows]:
    """Tokenises documents into both splits, reading no more of them than are needed.

    Args:
      documents: the text; a document's split depends on its text alone.
      tokenizer: a byte-level BPE.
      context_size: L, tokens in a window.
      n_train: tokens wanted for training, rounded up to whole windows.
      n_held_out: the same for the held-out split.
      held_out_fraction: share of documents held out.
      prepend_bos: whether `<|endoftext|>` stands before each document.

    Returns:
      {"train": …, "held_out": …}; a split is shorter than wanted where the text ends first.
    """
    bos = [tokenizer.token_to_id(END_OF_TEXT)] if prepend_bos else []
    packers = {"train": _Packer(n_train, context_size), "held_out": _Packer(n_held_out, context_size)}
    n_wanted = sum(p.n_wanted for p in packers.values())
    with console.progress("tokenise", n_wanted, "tokens") as advance:
        stream = iter(documents)
        while not all(p.full for p in packers.values()):
            batch = list(itertools.islice(stream, _ENCODE_AT_ONCE))
            if not batch:
                break
            wanted = [(d, packers["held_out" if d.is_held_out(held_out_fraction) else "train"]) for d in batch]
            wanted = [(d, packer) for d, packer in wanted if not packer.full]
            encoded = tokenizer.encode_batch([d.text for d, _ in wanted], add_special_tokens=False)
            for (document, packer), encoding in zip(wanted, encoded):
                if not packer.full:
                    packer.add(document, bos + encoding.ids)
                    advance(len(bos) + len(encoding.ids))
    return {name: packer.windows() for name, packer in packers.items()}


def save(splits: dict[str, TokenWindows], directory: Path) -> None:
    """Writes the splits as a folder that appears whole."""
    partial = directory.with_name(f".{directory.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for name, windows in splits.items():
        folder = partial / name
        folder.mkdir(parents=True)
        np.save(folder / "tokens.npy", windows.tokens_NxL)
        np.save(folder / "starts.npy", windows.starts)
        files.write_json(folder / "documents.json", {"fingerprint": windows.fingerprint, "sources": windows.sources})
    partial.rename(directory)


def load(directory: Path) -> dict[str, TokenWindows]:
    """Reads what `save` wrote; the tokens are memory-mapped.

    Raises:
      InputError: a folder that is not whole.
    """
    try:
        return {name: _load_split(directory / name) for name in SPLITS}
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise InputError(f"{directory}: the tokens cannot be read ({error}); remove that folder to make them anew") from error


def _load_split(folder: Path) -> TokenWindows:
    about = files.read_json(folder / "documents.json")
    tokens_NxL = np.load(folder / "tokens.npy", mmap_mode="r", allow_pickle=False)
    starts = np.load(folder / "starts.npy", allow_pickle=False)
    return TokenWindows(tokens_NxL, starts, about["sources"], about["fingerprint"])
