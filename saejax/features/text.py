"""The text that features are collected on: packed windows, which of their positions count, and where each came from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from saejax.lm.tokens import TokenWindows


class Text(NamedTuple):
    """Windows of text.

    Attributes:
      windows: the packed text.
      keep_N: bool, flat: the positions that autoencoders are for. The others have no active latent.
      end_of_text: the token that stands before each document.
    """

    windows: TokenWindows
    keep_N: np.ndarray
    end_of_text: int

    @property
    def tokens(self) -> np.ndarray:
        """int32 [N], by address."""
        return self.windows.tokens_NxL.reshape(-1)

    @property
    def n_rows(self) -> int:
        """Positions that count."""
        return int(self.keep_N.sum())

    @property
    def n_documents(self) -> int:
        """Documents of which there is a token."""
        return int(np.searchsorted(self.windows.starts, self.keep_N.size))

    def document_of(self, addresses: np.ndarray) -> np.ndarray:
        """int64, the documents of some addresses."""
        return np.searchsorted(self.windows.starts, addresses, side="right") - 1

    def stretch(self, address: int, before: int, after: int) -> tuple[int, int]:
        """Addresses [first, end) about one, no further than its document and its window."""
        document, L = int(self.document_of(address)), self.windows.context_size
        start, window = int(self.windows.starts[document]), address // L * L
        last = int(self.windows.starts[document + 1]) if document + 1 < len(self.windows.starts) else self.keep_N.size
        return max(address - before, start, window), min(address + after + 1, last, window + L)
