"""The bodies of POST /api/…: JSON of exactly the fields that are asked for, checked before the model sees any of it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from saejax.errors import InputError

MOST_CHARACTERS = 20_000
MOST_STRENGTH = 100.0
MOST_TEMPERATURE = 4.0
_LARGEST_INT = 2**31 - 1
_LARGEST_SEED = 2**32 - 1


class Live(NamedTuple):
    """What answers, given by whoever loads a model: nothing here knows of one.

    Attributes:
      members: what there is, JSON values with at least {"name", "n_latents"}.
      kinds: of edits.
      most_latents: in one question.
      look: (member, text, latents) → activations.
      change: (member, text, edits, position) → what edits change; edits are {"latent", "kind", "strength"}.
      sample: (member, text, edits, seed, temperature) → continuations.
    """

    members: list[dict[str, Any]]
    kinds: tuple[str, ...]
    most_latents: int
    look: Callable[..., dict]
    change: Callable[..., dict]
    sample: Callable[..., dict]


def parse(body: bytes) -> dict[str, Any]:
    """A body as an object.

    Raises:
      InputError: anything else; NaN and infinity, which are not JSON, and names that come twice, too.
    """
    try:
        value = json.loads(body.decode(), parse_constant=_refuse_constant, object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON: {str(error)[:200] or 'nested too deeply'}") from error
    if not isinstance(value, dict):
        raise InputError("not a JSON object")
    return value


def look(question: Mapping[str, Any], live: Live) -> dict[str, Any]:
    """The arguments of `Live.look`. Raises InputError, as the two below do."""
    _fields(question, "member", "text", "latents")
    member = _member(question["member"], live)
    latents = [_whole("latents", latent, member["n_latents"] - 1) for latent in _list("latents", question["latents"], live)]
    _different("latents", latents)
    return {"member": member["name"], "text": _text(question["text"]), "latents": latents}


def change(question: Mapping[str, Any], live: Live) -> dict[str, Any]:
    """The arguments of `Live.change`."""
    _fields(question, "member", "text", "edits", "position")
    position = question["position"]
    return _edited(question, live) | {"position": None if position is None else _whole("position", position, _LARGEST_INT)}


def sample(question: Mapping[str, Any], live: Live) -> dict[str, Any]:
    """The arguments of `Live.sample`."""
    _fields(question, "member", "text", "edits", "seed", "temperature")
    seed = _whole("seed", question["seed"], _LARGEST_SEED)
    temperature = _number("temperature", question["temperature"], 0.0, MOST_TEMPERATURE)
    return _edited(question, live) | {"seed": seed, "temperature": temperature}


def _edited(question: Mapping[str, Any], live: Live) -> dict[str, Any]:
    member = _member(question["member"], live)
    edits = []
    for edit in _list("edits", question["edits"], live):
        if not isinstance(edit, dict):
            raise InputError("edits: each must be an object")
        _fields(edit, "latent", "kind", "strength")
        if not isinstance(edit["kind"], str) or edit["kind"] not in live.kinds:
            raise InputError(f"kind: must be one of {', '.join(live.kinds)}")
        latent = _whole("latent", edit["latent"], member["n_latents"] - 1)
        strength = _number("strength", edit["strength"], -MOST_STRENGTH, MOST_STRENGTH)
        edits.append({"latent": latent, "kind": edit["kind"], "strength": strength})
    _different("edits", [edit["latent"] for edit in edits])
    return {"member": member["name"], "text": _text(question["text"]), "edits": edits}


def _fields(value: Mapping[str, Any], *names: str) -> None:
    if value.keys() != set(names):
        raise InputError(f"must have the fields {', '.join(names)}, and no other")


def _member(name: Any, live: Live) -> dict[str, Any]:
    found = [member for member in live.members if member["name"] == name]
    if not found:
        raise InputError("member: no such autoencoder; GET /api/members lists them")
    return found[0]


def _text(text: Any) -> str:
    if not isinstance(text, str) or len(text) > MOST_CHARACTERS:
        raise InputError(f"text: must be a string of at most {MOST_CHARACTERS:,} characters")
    return text


def _list(name: str, value: Any, live: Live) -> list:
    if not isinstance(value, list) or len(value) > live.most_latents:
        raise InputError(f"{name}: must be a list of at most {live.most_latents}")
    return value


def _different(name: str, latents: list[int]) -> None:
    if len(set(latents)) < len(latents):
        raise InputError(f"{name}: a latent is given twice")


def _whole(name: str, value: Any, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:  # True is an int, but no number
        raise InputError(f"{name}: must be a whole number from 0 to {most}")
    return value


def _number(name: str, value: Any, least: float, most: float) -> float:
    if type(value) not in (int, float) or not (least <= value <= most) or not math.isfinite(value):
        raise InputError(f"{name}: must be a number from {least:g} to {most:g}")
    return float(value)


def _refuse_constant(name: str):
    raise ValueError(f"{name} is not a JSON number")


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a name comes twice in one object")
    return value
