"""Neuronpedia's bulk import: a directory of one source's features, activations and explanations, as lines of JSON.

  release.jsonl model.jsonl sourceset.jsonl source.jsonl      one line each
  features/batch-N.jsonl.gz activations/batch-N.jsonl.gz explanations/batch-N.jsonl.gz

Its import (`apps/webapp/app/api/admin/import/route.ts`, `apps/webapp/lib/db/import.ts` of github.com/hijohnnylin/neuronpedia)
takes exactly these from `<model>/<source>/`; Postgres refuses half a surrogate pair, which is therefore written as U+FFFD.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from saejax.errors import InputError
from saejax.interop.directory import replaced_whole
from saejax.interop.logit_tables import LogitTables, logit_tables
from saejax.interop.neuronpedia_lines import line, records
from saejax.interop.neuronpedia_records import (
    Activation,
    Explanation,
    Feature,
    Latent,
    Model,
    Release,
    Source,
    SourceSet,
    activation,
    explanation,
    problem_of,
    source_id,
)

__all__ = [
    "Activation",
    "Explanation",
    "Export",
    "Feature",
    "Latent",
    "LogitTables",
    "Model",
    "Release",
    "Source",
    "SourceSet",
    "activation",
    "explanation",
    "logit_tables",
    "read",
    "source_id",
    "write",
]

_SINGLE = {"release": Release, "model": Model, "source_set": SourceSet, "source": Source}
_FOLDERS = {"features": Feature, "activations": Activation, "explanations": Explanation}


class Export(NamedTuple):
    """What a directory holds."""

    release: Release
    model: Model
    source_set: SourceSet
    source: Source
    latents: tuple[Latent, ...]


def write(
    directory: str | os.PathLike,
    *,
    release: Release,
    model: Model,
    source_set: SourceSet,
    source: Source,
    latents: Iterable[Latent],
    features_per_file: int = 512,
) -> int:
    """Writes one source; the directory appears whole. Latents are taken one by one and not kept.

    Args:
      directory: `<…>/<model>/<source id>` for the import to find it; replaced if it is there.
      release, model, source_set, source: its four single lines.
      latents: in the order of their numbers, as they should be in the shards.
      features_per_file: latents in a shard, with their activations and explanations.

    Returns:
      How many latents were written.

    Raises:
      InputError: records that contradict themselves or each other, or numbers that are not finite.
    """
    directory, n, seen = Path(directory), 0, set()
    single = {"release": release, "model": model, "source_set": source_set, "source": source}
    problem = _disagreement(single)
    if problem:
        raise InputError(f"{directory}: {problem}; correct the records")
    with replaced_whole(directory) as partial:
        for name, record in single.items():
            (partial / _file(name)).write_bytes(line(directory, record))
        for folder in ("features", "activations"):
            (partial / folder).mkdir()
        with ExitStack() as stack:
            shard = stack.enter_context(_Shard(partial, 0))
            for latent in latents:
                if n and n % features_per_file == 0:
                    stack.close()
                    shard = stack.enter_context(_Shard(partial, n // features_per_file))
                _check_latent(directory, latent, source, seen)
                for folder, many in zip(_FOLDERS, ((latent.feature,), latent.activations, latent.explanations)):
                    for record in many:
                        shard.write(folder, line(directory, record))
                n += 1
    return n


def read(directory: str | os.PathLike) -> Export:
    """Reads and checks one source's directory, its shards gzipped or not; keys it does not know are passed over.

    Raises:
      InputError: a file that is not there, a line that is no such record, records that contradict each other; by file:line.
    """
    directory = Path(directory)
    single = {}
    for name, kind in _SINGLE.items():
        path = directory / _file(name)
        if not path.is_file():
            raise InputError(f"{path}: no such file; a source's directory has {', '.join(map(_file, _SINGLE))}")
        found = [record for _, record in records(path, kind)]
        if len(found) != 1:
            raise InputError(f"{path}: {len(found)} lines; it must have one: correct it")
        single[name] = found[0]
    problem = _disagreement(single)
    if problem:
        raise InputError(f"{directory}: {problem}; correct the files")
    source = single["source"]
    features: dict[str, tuple[Feature, list, list]] = {}
    for position, folder in enumerate(_FOLDERS):
        for path in _shards(directory / folder):
            for where, record in records(path, _FOLDERS[folder]):
                if (record.modelId, record.layer) != (source.modelId, source.id):
                    raise InputError(
                        f"{where}: belongs to {record.modelId} {record.layer}, not to {source.modelId} {source.id}"
                    )
                if position == 0 and record.index in features:
                    raise InputError(f"{where}: feature {record.index} is there twice; remove one")
                if position == 0:
                    features[record.index] = (record, [], [])
                elif record.index not in features:
                    raise InputError(f"{where}: of feature {record.index}, which is in no file of features; add it")
                else:
                    features[record.index][position].append(record)
    latents = tuple(Latent(feature, tuple(acts), tuple(said)) for feature, acts, said in features.values())
    return Export(**single, latents=latents)


class _Shard(ExitStack):
    """The open files of one batch; a file is made by its first record."""

    def __init__(self, directory: Path, number: int):
        super().__init__()
        self._directory, self._name, self._open = directory, f"batch-{number}.jsonl.gz", {}

    def write(self, folder: str, content: bytes) -> None:
        if folder not in self._open:
            path = self._directory / folder / self._name
            path.parent.mkdir(exist_ok=True)
            raw = self.enter_context(open(path, "wb"))
            # No name and no time in it, so that the same records give the same bytes.
            self._open[folder] = self.enter_context(gzip.GzipFile("", "wb", 5, raw, mtime=0))
        self._open[folder].write(content)


def _file(name: str) -> str:
    return f"{name.replace('_', '')}.jsonl"


def _disagreement(single: dict[str, Any]) -> str | None:
    """How the four single records contradict each other, or None."""
    release, model, source_set, source = (single[name] for name in _SINGLE)
    for what, a, b in (
        ("the source set's modelId", source_set.modelId, model.id),
        ("the source's modelId", source.modelId, model.id),
        ("the source's setName", source.setName, source_set.name),
        ("the source set's releaseName", source_set.releaseName or release.name, release.name),
    ):
        if a != b:
            return f"{what} is {a!r}, not {b!r}"
    return None


def _check_latent(directory: Path, latent: Latent, source: Source, seen: set[str]) -> None:
    index = latent.feature.index
    for record in (latent.feature, *latent.activations, *latent.explanations):
        problem = problem_of(record)
        if (record.modelId, record.layer, record.index) != (source.modelId, source.id, index):
            problem = f"belongs to {record.modelId} {record.layer} {record.index}, not to {source.modelId} {source.id} {index}"
        if problem:
            raise InputError(f"{directory}: {type(record).__name__} {index}: {problem}; correct it")
    if index in seen:
        raise InputError(f"{directory}: feature {index} is there twice; give each latent once")
    seen.add(index)


def _shards(folder: Path) -> list[Path]:
    """batch-0, batch-1, …, batch-10, in the order of their numbers."""
    paths = [path for path in folder.glob("batch-*.jsonl*") if path.name.endswith((".jsonl", ".jsonl.gz"))]
    return sorted(paths, key=lambda path: (len(path.name.split(".")[0]), path.name))
