"""Small files written whole or not at all, and how settings and data are fingerprinted."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from saejax.errors import InputError


def write_text(path: Path, text: str) -> None:
    """Writes `text` so that a reader, or a kill, sees the old file or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with open(partial, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def write_json(path: Path, value: Any) -> None:
    """`write_text` for JSON; NaN and infinity are refused, since they are not JSON."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
      InputError: a file that holds none. FileNotFoundError: no file.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}); restore the file, or remove it to make it anew") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: not a JSON object; restore the file, or remove it to make it anew")
    return value


def fingerprint(value: Any) -> str:
    """A short, stable name (16 hex digits of SHA-256) for a JSON value or for bytes."""
    data = value if isinstance(value, bytes) else json.dumps(value, sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()[:16]


def absent(paths: Iterable[Path]) -> list[str]:
    """Those of the paths where nothing is."""
    return [str(path) for path in paths if not path.exists()]
