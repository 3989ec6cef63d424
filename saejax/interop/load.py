"""One way to read an autoencoder, whoever wrote it and wherever it is, and the table of formats."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from saejax.errors import InputError
from saejax.interop import dictionary_learning, hub, saelens, sparsify
from saejax.interop.sites import Origin
from saejax.sae.inference import InferenceSAE

_MOST_NAMED = 10


class Format(NamedTuple):
    """How one tool keeps an autoencoder.

    Attributes:
      files: the two whose presence tells the format.
      save: (directory, sae, *, metadata, density_F=None) -> None.
      load: directory -> InferenceSAE.
      origin: directory -> where it belongs.
    """

    files: tuple[str, str]
    save: Callable[..., None]
    load: Callable[[str | os.PathLike], InferenceSAE]
    origin: Callable[[str | os.PathLike], Origin]


FORMATS: Mapping[str, Format] = {
    name: Format((module.CONFIG, module.WEIGHTS), module.save, module.load, module.origin)
    for name, module in {"saelens": saelens, "sparsify": sparsify, "dictionary_learning": dictionary_learning}.items()
}


class Loaded(NamedTuple):
    """An autoencoder or transcoder and what its directory says of it.

    Attributes:
      sae: for raw activations.
      hook_name: the site it reads, by TransformerLens's name, or None where the directory does not say so.
      target_hook_name: the site a transcoder predicts, or None.
      format: a name in `FORMATS`.
      metadata: the rest of what the directory says, by that format's names.
    """

    sae: InferenceSAE
    hook_name: str | None
    target_hook_name: str | None
    format: str
    metadata: dict[str, Any]


def load(where: str | os.PathLike) -> Loaded:
    """Reads a directory, or a folder of the Hugging Face Hub, in whichever format it is.

    Args:
      where: as `hub.fetch` takes it.

    Raises:
      InputError: no autoencoder there, several, or one that cannot be used.
    """
    directory = hub.fetch(where)
    name = _format_of(directory)
    sae, origin = FORMATS[name].load(directory), FORMATS[name].origin(directory)
    return Loaded(sae, origin.hook_name, origin.target_hook_name, name, origin.metadata)


def _format_of(directory: Path) -> str:
    if not directory.is_dir():
        raise InputError(f"{directory}: is a file; give the directory it is in")
    names = _formats_in(directory)
    if len(names) == 1:
        return names[0]
    pairs = "; ".join(f"{name}: {' and '.join(row.files)}" for name, row in FORMATS.items())
    if names:
        raise InputError(f"{directory}: holds autoencoders in several formats ({', '.join(names)}); keep one to a directory")
    folders = sorted(path.parent for path in directory.rglob("*.json") if _formats_in(path.parent))
    folders = [str(folder.relative_to(directory)) for folder in dict.fromkeys(folders)]
    if folders:
        rest = f" and {len(folders) - _MOST_NAMED} more" if len(folders) > _MOST_NAMED else ""
        some = ", ".join(folders[:_MOST_NAMED])
        raise InputError(f"{directory}: not an autoencoder but {len(folders)} of them; choose a folder: {some}{rest}")
    raise InputError(f"{directory}: no autoencoder there; a directory of one has, by format, {pairs}")


def _formats_in(directory: Path) -> list[str]:
    return [name for name, row in FORMATS.items() if all((directory / file).is_file() for file in row.files)]
