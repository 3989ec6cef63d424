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
from saejax.sae.registry import ARCHITECTURES

_SHORT = {"l1_coefficient": "l1_", "auxk_coefficient": "auxk", "bias_decay": "decay", "learning_rate": "lr"}
_SYMBOLS = {"l1_coefficient": "λ", "auxk_coefficient": "α", "bias_decay": "β", "learning_rate": "η"}


class Member(NamedTuple):
    """One autoencoder of the sweep: its name, a label for plots, traced hyper-parameters (with `learning_rate`) and seed."""

    name: str
    label: str
    hparams: dict[str, float]
    seed: int


class Group(NamedTuple):
    """Members that are one compiled ensemble."""

    name: str
    hook_name: str
    architecture: str
    d_in: int
    d_sae: int
    options: dict[str, Any]
    members: tuple[Member, ...]


def groups(
    *,
    widths: Mapping[str, int],
    architectures: Sequence[str],
    d_saes: Sequence[int],
    expansion_factors: Sequence[int],
    learning_rates: Sequence[float],
    seeds: Sequence[int],
    hparams: Mapping[str, Sequence[float]],
    options: Mapping[str, Any],
) -> list[Group]:
    """The product of the lists, as groups.

    Args:
      widths: {hook_name: d_in} of the sites.
      architectures: names in the registry.
      d_saes: numbers of latents; where empty, `expansion_factors` times the site's width.
      learning_rates, seeds: common to all architectures.
      hparams: architectures' own hyper-parameters; an empty list means the architecture's default.
      options: static options; each architecture takes its own.

    Raises:
      InputError: an unknown architecture; a hyper-parameter that none of them takes; a k above d_sae.
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
    for hook_name, architecture in itertools.product(widths, architectures):
        row, d_in = ARCHITECTURES[architecture], widths[hook_name]
        own = {name: tuple(hparams.get(name, ())) or (default,) for name, default in row.hparams.items()}
        for d_sae in d_saes or [factor * d_in for factor in expansion_factors]:
            for k in own.get("k", ()):
                if k > d_sae:
                    raise InputError(f"--k={k}: more than the {d_sae} latents of {hook_name}; lower it, or raise the latents")
            prefix = f"{hook_name}-" if len(widths) > 1 else ""
            members = []
            for *values, learning_rate, seed in itertools.product(*own.values(), learning_rates, seeds):
                named = dict(zip(own, values))
                shown = [
                    f"{_SHORT.get(n, n)}{_number(v)}" for i, (n, v) in enumerate(named.items()) if i == 0 or len(own[n]) > 1
                ]
                name = "-".join([architecture, *shown, f"d{d_sae}", f"lr{_number(learning_rate)}", f"seed{seed}"])
                label = _label(named, own, learning_rate if len(learning_rates) > 1 else None, seed if len(seeds) > 1 else None)
                members.append(Member(prefix + name, label, {**named, "learning_rate": learning_rate}, seed))
            taken = {name: options[name] for name in row.options if name in options}
            made.append(Group(f"{prefix}{architecture}-d{d_sae}", hook_name, architecture, d_in, d_sae, taken, tuple(members)))
    return made


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
