"""Records ↔ lines of JSON, for `neuronpedia`: half surrogate pairs never go out, and what comes in has the record's types."""

from __future__ import annotations

import functools
import gzip
import json
import math
import re
import types
import typing
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from saejax.errors import InputError
from saejax.interop.neuronpedia_records import problem_of

_ESCAPE = re.compile(r"\\(.)")


def line(directory: Path, record: NamedTuple) -> bytes:
    """One line of ASCII; InputError, naming the directory, for a number that is not finite."""
    try:
        text = json.dumps(_without_half_pairs(record._asdict()), allow_nan=False)
    except ValueError as error:
        index = getattr(record, "index", "")
        raise InputError(f"{directory}: {type(record).__name__} {index}: a number is NaN or infinite; correct it") from error
    if "\\\\u0000" in text:  # the import blanks \u0000 in the text of the JSON, which would break a backslash before "u0000"
        text = _ESCAPE.sub(lambda match: "\\u005c" if match[1] == "\\" else match[0], text)
    return text.encode("ascii") + b"\n"


def _without_half_pairs(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, dict):
        return {key: _without_half_pairs(item) for key, item in value.items()}
    if isinstance(value, tuple | list) and value and isinstance(value[0], str):
        return [_without_half_pairs(item) for item in value]
    return value


def records(path: Path, kind: type) -> Iterator[tuple[str, Any]]:
    """(file:line, record) of each line of a file, gzipped or not; InputError for one that is no `kind`."""
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as file:
            for number, raw in enumerate(file, start=1):
                where = f"{path}:{number}"
                if raw.strip():
                    yield where, _parsed(where, raw, kind)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}:{number + 1}: cannot be read ({error}); copy the file again") from error


def _parsed(where: str, raw: bytes, kind: type) -> Any:
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_refused)
    except ValueError as error:
        raise InputError(f"{where}: not JSON ({' '.join(str(error).split())[:120]}); restore the file") from error
    if not isinstance(value, dict):
        raise InputError(f"{where}: not a JSON object; restore the file")
    fields = {}
    for name, hint in _hints(kind).items():
        if name in value:
            fields[name] = _typed(where, name, value[name], hint)
        elif name not in kind._field_defaults:
            raise InputError(f"{where}: {name} is missing; a {kind.__name__} must have {', '.join(_needed(kind))}")
    record = kind(**fields)
    problem = problem_of(record)
    if problem:
        raise InputError(f"{where}: {problem}; correct it")
    return record


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _needed(kind: type) -> list[str]:
    return [name for name in kind._fields if name not in kind._field_defaults]


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _typed(where: str, name: str, value: Any, hint: Any) -> Any:
    """The value as the field's type; InputError where it has another."""
    if isinstance(hint, types.UnionType):
        if value is None:
            return None
        hint = next(arm for arm in hint.__args__ if arm is not types.NoneType)
    if typing.get_origin(hint) is tuple and value is None:  # Neuronpedia's exports have null for an empty list
        return ()
    if typing.get_origin(hint) is tuple and isinstance(value, list):
        return tuple(_typed(where, name, item, hint.__args__[0]) for item in value)
    if name in ("index", "dataIndex") and isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # as the converter from SAEDashboard writes it
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint or hint is float and not math.isfinite(value):
        wanted = "a list" if typing.get_origin(hint) is tuple else hint.__name__
        raise InputError(f"{where}: {name} holds {str(value)[:60]!r}, not {wanted}; correct it")
    return value
