"""The static site: the pages as they are shipped, and the data they load, made whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from saejax import __version__, console, files
from saejax.features import records
from saejax.interface import member, shards

ASSETS = Path(__file__).parent / "assets"
MADE_FROM = "made_from.json"
_METRICS = ("l0", "fvu", "explained_variance", "cosine_similarity", "ce_recovered", "kl_sae", "dead_fraction")


class Member(NamedTuple):
    """An autoencoder of the sweep.

    Attributes:
      name: its own.
      family: what its colour stands for.
      label: the text beside its point.
      records: `features/<member>/`, or None where no features were collected.
    """

    name: str
    family: str
    label: str
    records: Path | None


def build(directory: Path, members: Sequence[Member], evaluation: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Makes the site in a folder beside `directory`, and puts it in its place.

    Args:
      directory: where it will be; what is there is replaced.
      members: in the order of the overview.
      evaluation: evaluation.json, or nothing.
      about: the run, for the overview: dataset, model, sites.
    """
    partial, old = (directory.with_name(f".{directory.name}.{end}") for end in ("partial", "old"))
    for leftover in (partial, old):
        shutil.rmtree(leftover, ignore_errors=True)
    _copy_pages(partial)
    data = partial / "data"
    folders = _folders([m.name for m in members if m.records])
    n_latents = sum(records.read_meta(m.records).d_sae for m in members if m.records)
    with console.progress("interface", n_latents, "latents") as advance:
        facts = {m.name: member.write(m.records, data, folders[m.name], advance) for m in members if m.records}
    sweep = {**about, "version": __version__, "members": [_row(m, folders, facts, evaluation) for m in members]}
    shards.write(data, "sweep", shards.encode(sweep))
    shards.write(data, "live", shards.encode(None))  # a server that runs the model answers with the live page's name
    files.write_json(partial / MADE_FROM, made_from(members, evaluation, about))
    if directory.exists():
        os.rename(directory, old)
    os.rename(partial, directory)
    shutil.rmtree(old, ignore_errors=True)


def made_from(members: Sequence[Member], evaluation: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, str]:
    """Fingerprints of all that the site is made from: where one differs, the site is old."""
    assets = sorted(path for path in ASSETS.rglob("*") if path.is_file())
    return {
        "pages": files.fingerprint(b"".join(path.read_bytes() for path in assets)),
        "sweep": files.fingerprint([evaluation, dict(about), [m[:3] for m in members]]),
        **{f"features of {m.name}": _fingerprint(m.records) for m in members if m.records},
    }


def _fingerprint(records: Path) -> str:
    """Of one member's records: all of its small files, and the size and time of the large ones."""
    small = [path.read_bytes() for path in sorted(records.glob("*.json"))]
    large = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(records.glob("*.parquet"))]
    return files.fingerprint(b"".join(small) + repr(large).encode())


def _copy_pages(directory: Path) -> None:
    for path in sorted(ASSETS.rglob("*")):
        if path.is_file():
            inner = path.relative_to(ASSETS)
            target = directory / (inner if path.suffix == ".html" else Path("assets") / inner)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def _folders(names: Sequence[str]) -> dict[str, str]:
    """{member: a folder's name that needs no quoting in an address}; two that would be the same are told apart."""
    plain = {name: re.sub(r"[^A-Za-z0-9_.+=-]", "_", name).replace("..", "__") for name in names}
    taken = list(plain.values())
    return {name: f"{own}-{files.fingerprint(name)[:6]}" if taken.count(own) > 1 else own for name, own in plain.items()}


def _row(m: Member, folders: Mapping[str, str], facts: Mapping[str, dict], evaluation: Mapping[str, Any]) -> dict[str, Any]:
    measured = evaluation.get("members", {}).get(m.name, {})
    intervals = evaluation.get("intervals", {}).get(m.name, {})
    return {
        "name": m.name,
        "family": m.family,
        "label": m.label,
        "folder": folders.get(m.name),
        **facts.get(m.name, {}),
        "metrics": {name: measured[name] for name in _METRICS if name in measured},
        "intervals": {name: intervals[name] for name in ("l0", "fvu", "ce_recovered") if name in intervals},
        "recommended": [a["reason"] for a in evaluation.get("recommended", {}).values() if a["member"] == m.name],
        "on_frontier": any(m.name in names for names in evaluation.get("frontier", {}).values()),
    }
