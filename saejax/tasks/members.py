"""What there is to evaluate: the sweep's autoencoders, as they were trained and as they were fine-tuned, and those of
`--sae`."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from saejax.config import Config
from saejax.errors import InputError
from saejax.evaluation.splice import Spliced
from saejax.interop import load, saelens
from saejax.lm import sites
from saejax.lm.gpt2 import GPT2Config
from saejax.tasks import finetune, sweep
from saejax.workdir import Workdir


class About(NamedTuple):
    """One autoencoder.

    Attributes:
      name: its own.
      family: what its colour stands for in plots.
      label: the text beside its point.
      where: a directory of the run, or as `--sae` names it.
    """

    name: str
    family: str
    label: str
    where: str


def listed(config: Config, workdir: Workdir, lm: GPT2Config) -> list[About]:
    """Every autoencoder that is there, without reading it.

    The sweep's must be there unless `--sae` is given, which can be evaluated without one.
    """
    found = []
    for groups, required in ((sweep.grid(config, lm), not config.sae), (finetune.groups(config, lm), False)):
        folder = workdir.path / "saes"
        of_groups = [About(m.name, group.name, m.label, str(folder / m.name)) for group in groups for m in group.members]
        absent = [about for about in of_groups if not (Path(about.where) / saelens.CONFIG).exists()]
        if absent and required:
            raise InputError(f"{absent[0].where}: no such autoencoder; run --tasks=train first")
        found += [] if absent else of_groups
    names = [Path(where.replace(":", "/")).name for where in config.sae]
    for name, where in zip(names, config.sae):
        own = name if names.count(name) == 1 else where.strip("/").replace("/", "_").replace(":", "_")
        if own in {about.name for about in found}:  # it was trained under the name of a member of this sweep
            own = f"given-{own}"
        found.append(About(own, own, "given", where))
    return found


def given(config: Config, lm: GPT2Config) -> dict[str, Spliced]:
    """{as `--sae` names it: the autoencoder, at the site its files or `--hook_name` say}.

    Raises:
      InputError: one that cannot be read, or that does not fit the model.
    """
    found = {}
    for where in config.sae:
        loaded = load.load(where)
        reads, writes = loaded.hook_name, loaded.target_hook_name
        if reads is None and len(config.hook_name) == 1:
            reads, writes = config.hook_name[0], (config.target_hook_name or (None,))[0]
        if reads is None:
            raise InputError(f"--sae={where}: its files do not name its site; give --hook_name, and one only")
        writes = writes or reads
        sites.check_sites([reads, writes], lm.n_layer)
        widths = tuple(sites.site_width(hook, n_embd=lm.n_embd, n_inner=lm.inner) for hook in (reads, writes))
        have = (loaded.sae.W_enc.shape[0], loaded.sae.W_dec.shape[1])
        if have != widths:
            raise InputError(
                f"--sae={where}: reads {have[0]} and writes {have[1]} dimensions; {reads} and {writes} of "
                f"--model={config.model} have {widths[0]} and {widths[1]}; name the model it was trained on"
            )
        found[where] = Spliced(reads, writes, loaded.sae)
    return found


def read(config: Config, workdir: Workdir, lm: GPT2Config) -> dict[str, tuple[About, Spliced]]:
    """{name: (what it is, the autoencoder in its place)} of every one that is there."""
    outside = given(config, lm)
    places = {m.name: group.sites for group in sweep.grid(config, lm) + finetune.groups(config, lm) for m in group.members}

    def spliced(about: About) -> Spliced:
        if about.where in outside:
            return outside[about.where]
        return Spliced(places[about.name].hook_name, places[about.name].written, saelens.load(about.where))

    return {about.name: (about, spliced(about)) for about in listed(config, workdir, lm)}
