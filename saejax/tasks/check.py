"""What the flags say, checked against the model, the text and the registry before any work starts."""

from __future__ import annotations

from collections.abc import Sequence

from saejax.config import Config
from saejax.lm import corpus
from saejax.workdir import Workdir


def all_flags(config: Config, workdir: Workdir, tasks: Sequence[str]) -> None:
    """Raises InputError for the first thing that cannot work."""
    corpus.check(config.dataset)
