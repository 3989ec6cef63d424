"""`--tasks=interface`: feature records → `interface/index.html` and its pages, which open from the file system."""

from __future__ import annotations

from collections.abc import Sequence

from saejax import files
from saejax.config import Config
from saejax.errors import InputError
from saejax.features import records
from saejax.interface import site
from saejax.lm import weights
from saejax.tasks import inputs, members
from saejax.workdir import Workdir


def check(workdir: Workdir, tasks: Sequence[str]) -> None:
    """Raises InputError where there are no features, and none will be collected."""
    if "features" not in tasks and not records.members(workdir.path / "features"):
        raise InputError(f"--tasks=interface: {workdir.path} has no features/; add features to --tasks")


def do(config: Config, workdir: Workdir) -> dict:
    """Writes the site; returns its bytes and the size of its largest file."""
    directory = workdir.path / "interface"
    site.build(directory, _members(config, workdir), _evaluation(workdir), _about(config))
    sizes = [path.stat().st_size for path in directory.rglob("*") if path.is_file()]
    return {"pages": str(directory / "index.html"), "bytes": sum(sizes), "largest_file_bytes": max(sizes)}


def missing(config: Config, workdir: Workdir) -> list[str]:
    """What a complete task has not left, or has made of something that has changed since."""
    directory = workdir.path / "interface"
    if absent := files.absent([directory / "index.html", directory / site.MADE_FROM]):
        return absent
    made_from = files.read_json(directory / site.MADE_FROM)
    now = site.made_from(_members(config, workdir), _evaluation(workdir), _about(config))
    changed = sorted(name for name in made_from.keys() | now.keys() if made_from.get(name) != now.get(name))
    return [f"interface/ of the {name} as they are now" for name in changed]


def _members(config: Config, workdir: Workdir) -> list[site.Member]:
    folder = workdir.path / "features"
    collected = set(records.members(folder))
    found = []
    for about in members.listed(config, workdir, weights.load_config(inputs.model_directory(config, workdir))):
        own = folder / about.name if about.name in collected else None
        found.append(site.Member(about.name, about.family, about.label, own))
    return found


def _evaluation(workdir: Workdir) -> dict:
    path = workdir.path / "evaluation.json"
    return files.read_json(path) if path.exists() else {}


def _about(config: Config) -> dict:
    return {"model": config.model, "dataset": config.dataset, "hook_names": list(config.hook_name)}
