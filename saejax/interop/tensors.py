"""Strict reading of named tensors: what a file must hold, in which shapes, as finite numbers; shared by every format."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open

from saejax import files
from saejax.errors import InputError

FLOATS = ("float16", "bfloat16", "float32", "float64")
# safetensors' names, where they are not NumPy's.
_DTYPES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64", "I32": "int32", "I64": "int64"}
_MOST_NAMED = 4

Shape = tuple[int, ...]


class Found(NamedTuple):
    """A tensor in a file, not yet read."""

    shape: Shape
    dtype: str


def shape_of(letters: str, sizes: Mapping[str, int]) -> Shape:
    """ "DF" with {"D": 3, "F": 5} → (3, 5)."""
    return tuple(sizes[letter] for letter in letters)


def check(path: Path, found: Mapping[str, Found], expected: Mapping[str, Shape]) -> None:
    """Raises InputError, in one line that names the tensors, unless `found` are floats of exactly the shapes `expected`."""
    problems = []
    for word, names in (("missing", expected.keys() - found.keys()), ("unknown", found.keys() - expected.keys())):
        if names:
            problems.append(f"{word} {shortened(names)}")
    for name in sorted(expected.keys() & found.keys()):
        if found[name].shape != expected[name]:
            problems.append(f"{name} has shape {found[name].shape}, not {expected[name]}")
        elif found[name].dtype not in FLOATS:
            problems.append(f"{name} is {found[name].dtype}, not one of {', '.join(FLOATS)}")
    if problems:
        raise InputError(f"{path}: tensors {shortened(problems, '; ')}; it must hold {', '.join(expected)}: export it again")


def shortened(items: Any, separator: str = ", ") -> str:
    """The first few, and how many more there are."""
    items = items if isinstance(items, list) else sorted(items)
    rest = len(items) - _MOST_NAMED
    return separator.join(str(i)[:200] for i in items[:_MOST_NAMED]) + (f"{separator}and {rest} more" if rest > 0 else "")


def as_float32(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    """The numbers as float32 (float64 is rounded); InputError where one is not finite."""
    array = np.ascontiguousarray(array, np.float32)
    n_bad = int(array.size - np.count_nonzero(np.isfinite(array)))
    if n_bad:
        raise InputError(f"{path}: {name} holds {n_bad} values that are NaN or infinite; train or export it again")
    return array


def read_safetensors(
    path: Path, expected: Mapping[str, Shape], ignored: Callable[[str, np.ndarray], bool] = lambda name, array: False
) -> dict[str, np.ndarray]:
    """Reads exactly the tensors expected, as float32.

    Args:
      path: a .safetensors file.
      expected: {name: shape}.
      ignored: of a tensor that is not expected, whether it may be there all the same.

    Raises:
      InputError: a file that is absent or broken; missing, extra, misshapen or wrongly typed tensors; values not finite.
    """
    try:
        with safe_open(str(path), framework="numpy") as file:
            names = set(file.keys())
            names -= {name for name in names - expected.keys() if ignored(name, file.get_tensor(name))}
            slices = {name: file.get_slice(name) for name in sorted(names)}
            found = {name: Found(tuple(s.get_shape()), _DTYPES.get(s.get_dtype(), s.get_dtype())) for name, s in slices.items()}
            check(path, found, expected)
            return {name: as_float32(path, name, file.get_tensor(name)) for name in expected}
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; copy it there, or export it again") from error
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: cannot be read ({one_line(error)}); copy or export it again") from error


def read_config(path: Path) -> dict[str, Any]:
    """The object in a JSON file that must be there; InputError where it is absent or broken."""
    try:
        return files.read_json(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({one_line(error)}); copy it there, or export it again") from error


def size(path: Path, config: Mapping[str, Any], name: str, default: int | None = None) -> int:
    """A positive integer of a configuration; InputError where it is none."""
    value = config.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{path}: {name} is {value!r}; it must be a whole number of at least 1: correct it")
    return value


def number(path: Path, config: Mapping[str, Any], name: str, default: float) -> float:
    """A finite number of a configuration; InputError where it is none."""
    value = config.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{path}: {name} is {value!r}; it must be a finite number: correct it")
    return float(value)


def flag(path: Path, config: Mapping[str, Any], name: str, default: bool) -> bool:
    """A true or false of a configuration; InputError where it is neither."""
    value = config.get(name, default)
    if not isinstance(value, bool):
        raise InputError(f"{path}: {name} is {value!r}; it must be true or false: correct it")
    return value


def choice(path: Path, config: Mapping[str, Any], name: str, allowed: Mapping | tuple, default: str | None = None) -> str:
    """A name of a configuration; InputError where it is not an allowed one."""
    value = config.get(name, default)
    if not isinstance(value, str) or value not in allowed:
        raise InputError(f"{path}: {name} is {value!r}; only {', '.join(allowed)} can be read")
    return value


def one_line(error: BaseException) -> str:
    """An exception's text without its line ends, shortened."""
    return " ".join(str(error).split())[:200] or type(error).__name__
