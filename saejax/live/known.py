"""What the records say of an autoencoder's latents, in the few columns that the live page shows beside them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from saejax.features.records import LATENTS_FILE

N_BOOSTED = 3


class Known(NamedTuple):
    """Of every latent.

    Attributes:
      max_activation_F: float32, in the text that features were collected on.
      labels: automatic ones, "" where there is none.
      boosted: the tokens whose logits each raises most, the first first.
    """

    max_activation_F: np.ndarray
    labels: list[str]
    boosted: list[list[int]]


def read(directory: Path) -> Known:
    """Reads `features/<member>/`."""
    table = pq.read_table(directory / LATENTS_FILE, columns=["max_activation", "label", "boosted_tokens"])
    labels = [label or "" for label in table.column("label").to_pylist()]
    boosted = [(tokens or [])[:N_BOOSTED] for tokens in table.column("boosted_tokens").to_pylist()]
    return Known(table.column("max_activation").to_numpy().astype(np.float32), labels, boosted)
