"""The sweep: lists of values → members, grouped by what must be compiled apart.

A grid is the product of the lists. An architecture's members vary only in what it takes: in a mixed grid `k` multiplies the
topk members and not the relu ones. Members that differ in traced numbers alone are one group, one compiled ensemble.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from saejax.errors import InputError
from saejax.sae.frame import Frame
from saejax.sae.matryoshka import widths
from saejax.sae.registry import ARCHITECTURES, Architecture

_SHORT = {
    "l1_coefficient": "l1_",
    "l0_coefficient": "l0_",
    "auxk_coefficient": "auxk",
    "bias_decay": "decay",
    "learning_rate": "lr",
    "target_l0": "target",
    "tanh_scale": "tanh",
    "pre_act_coefficient": "preact",
    "residual_threshold": "residual",
    "p_start": "pstart",
    "p_end": "pend",
    "threshold_rate": "rate",
    "anneal_start": "start",
}
_SYMBOLS = {"l1_coefficient": "λ", "l0_coefficient": "λ", "auxk_coefficient": "α", "bias_decay": "β", "learning_rate": "η"}


class Member(NamedTuple):
    """One autoencoder of the sweep: its name, a label for plots, traced hyper-parameters (with `learning_rate`) and seed."""

    name: str
    label: str
    hparams: dict[str, float]
    seed: int


class Sites(NamedTuple):
    """What an autoencoder or transcoder reads and predicts.

    Attributes:
      hook_name: the site that is read.
      d_in: its width.
      target: the site that a transcoder predicts; None for an autoencoder.
      d_out: its width.
    """

    hook_name: str
    d_in: int
    target: str | None = None
    d_out: int | None = None

    @property
    def written(self) -> str:
        """The site whose activation is predicted."""
        return self.target or self.hook_name


class Group(NamedTuple):
    """Members that are one compiled ensemble."""

    name: str
    sites: Sites
    architecture: str
    frame: Frame
    options: dict[str, Any]
    members: tuple[Member, ...]


def groups(
    *,
    sites: Sequence[Sites],
    architectures: Sequence[str],
    d_saes: Sequence[int],
    expansion_factors: Sequence[int],
    learning_rates: Sequence[float],
    seeds: Sequence[int],
    hparams: Mapping[str, Sequence[float]],
    options: Mapping[str, Any],
    frame: Mapping[str, Any] | None = None,
    k_start: int = 0,
) -> list[Group]:
    """The product of the lists, as groups.

    Args:
      sites: what is read and predicted.
      architectures: names in the registry.
      d_saes: numbers of latents; where empty, `expansion_factors` times the site's width.
      learning_rates, seeds: common to all architectures.
      hparams: architectures' own hyper-parameters; an empty list means the architecture's default.
      options: static options; each architecture takes its own.
      frame: fields of `Frame` beside the sizes.
      k_start: the k that members begin with, where k is annealed.

    Raises:
      InputError: an unknown architecture; a hyper-parameter that none of them takes; a k above d_sae, or that does not divide
        it where it must; prefixes that do not divide it; a tied dictionary as a transcoder.
    """
    for name in architectures:
        if name not in ARCHITECTURES:
            raise InputError(f"--architecture={name}: not known; allowed are {', '.join(ARCHITECTURES)}")
    for name, values in hparams.items():
        if values and not any(name in ARCHITECTURES[a].hparams for a in architectures):
            takers = [a for a, row in ARCHITECTURES.items() if name in row.hparams]
            raise InputError(
                f"--{name}={_join(values)}: --architecture={_join(architectures)} takes no {name}; "
                f"leave it out, or add {' or '.join(takers)}"
            )
    made = []
    for site, architecture in itertools.product(sites, architectures):
        row = ARCHITECTURES[architecture]
        own = {name: tuple(hparams.get(name, ())) or (default,) for name, default in row.hparams.items()}
        taken = {name: options[name] for name in row.options if name in options}
        for name in sorted(row.unread({**row.options, **taken})):
            if hparams.get(name):
                raise InputError(
                    f"--{name}={_join(hparams[name])}: {architecture} in the form that is chosen has no use for it; leave it "
                    f"out, or change --{architecture}_form"
                )
        if row.bounds_k:
            taken["k_max"] = max(*own["k"], k_start)
        if site.target and not row.transcodes:
            raise InputError(
                f"--target_hook_name={site.target}: {architecture} reads and writes by one dictionary, so it cannot predict "
                f"another site; choose among {', '.join(a for a, r in ARCHITECTURES.items() if r.transcodes)}"
            )
        for d_sae in d_saes or [factor * site.d_in for factor in expansion_factors]:
            _check_sizes(row, site, d_sae, own, taken)
            own_frame = Frame(site.d_in, d_sae, site.d_out, **(frame or {}))
            prefix = f"{_file_name(site)}-" if len(sites) > 1 else ""
            members = []
            for *values, learning_rate, seed in itertools.product(*own.values(), learning_rates, seeds):
                named = dict(zip(own, values))
                shown = [
                    f"{_SHORT.get(n, n)}{_number(v)}" for i, (n, v) in enumerate(named.items()) if i == 0 or len(own[n]) > 1
                ]
                name = "-".join([architecture, *shown, f"d{d_sae}", f"lr{_number(learning_rate)}", f"seed{seed}"])
                label = _label(named, own, learning_rate if len(learning_rates) > 1 else None, seed if len(seeds) > 1 else None)
                members.append(Member(prefix + name, label, {**named, "learning_rate": learning_rate}, seed))
            made.append(Group(f"{prefix}{architecture}-d{d_sae}", site, architecture, own_frame, taken, tuple(members)))
    return made


def _file_name(site: Sites) -> str:
    return f"{site.hook_name}-to-{site.target}" if site.target else site.hook_name


def _check_sizes(row: Architecture, site: Sites, d_sae: int, own: Mapping[str, tuple], taken: Mapping[str, Any]) -> None:
    """Raises InputError for numbers of latents that the architecture cannot have."""
    for k in own.get("k", ()):
        if k > d_sae:
            raise InputError(f"--k={k}: more than the {d_sae} latents of {site.hook_name}; lower it, or raise the latents")
        if row.divides_k and d_sae % k:
            raise InputError(
                f"--k={k}: does not divide the {d_sae} latents of {site.hook_name}, as group_max needs; choose one that does"
            )
    if "matryoshka_prefixes" in taken:
        try:
            widths(taken["matryoshka_prefixes"], d_sae)
        except ValueError as error:
            raise InputError(f"--matryoshka_prefixes={_join(taken['matryoshka_prefixes'])}: {error}; change them") from error


def _label(named: Mapping[str, float], own: Mapping[str, tuple], learning_rate: float | None, seed: int | None) -> str:
    """What tells a member from others of its group: its first hyper-parameter, and whatever else varies."""
    varying = {name: value for i, (name, value) in enumerate(named.items()) if i == 0 or len(own[name]) > 1}
    varying |= {name: value for name, value in (("learning_rate", learning_rate), ("seed", seed)) if value is not None}
    return " ".join(f"{_SYMBOLS.get(name, name)}={_number(value)}" for name, value in varying.items())


def _number(value: float) -> str:
    """32 → 32, 0.0003 → 3e-4, 1.5 → 1.5; different numbers are written differently."""
    text = repr(float(value))
    if value == 0 or 1e-2 <= abs(value) < 1e6:
        return text.removesuffix(".0")
    return f"{Decimal(text):e}".replace("+", "")


def _join(values: Sequence[Any]) -> str:
    return ",".join(str(value) for value in values)
