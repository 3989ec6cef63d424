"""Data as scripts of bounded size: `saejax.receive("name", value);`, which assets/js/shards.js loads.

A page opened from the file system may not fetch its neighbours, but it may load them as scripts. Token text comes from a corpus
that anyone may have written, so what is embedded must be nothing but a value: JSON in ASCII, in which `<`, `>` and `&` are
escaped (no `</script>` or `<!--` can end or hide the script, were one ever to put it into a page), and so are U+2028 and U+2029
(line ends to older JavaScript) and lone surrogates (which UTF-8 cannot write).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

LIMIT_BYTES = 512 * 1024
_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&"}


def encode(value: Any) -> str:
    """A JSON value as ASCII that is safe in a script; NaN and infinity are refused."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).translate(_ESCAPES)


def write(data: Path, name: str, encoded: str) -> int:
    """Writes `data/<name>.js`, which gives what `encode` returned to `receive`; returns its bytes."""
    path = data / f"{name}.js"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.write_bytes(f'saejax.receive("{name}",{encoded});\n'.encode("ascii"))


def write_list(data: Path, name: str, encoded_items: Iterable[str], limit_bytes: int = LIMIT_BYTES) -> list[int]:
    """Writes a long list as `<name>-00000.js`, …, none much longer than the limit unless one item is.

    Args:
      data: the site's data folder.
      name: of the list.
      encoded_items: of `encode`, in order.
      limit_bytes: of a file.

    Returns:
      The index of each file's first item.
    """
    starts, position = [], 0
    for items in _bounded(encoded_items, limit_bytes):
        write(data, f"{name}-{len(starts):05d}", f"[{','.join(items)}]")
        starts.append(position)
        position += len(items)
    return starts


def rounded(values: Any, digits: int = 4) -> list:
    """Numbers to a few significant digits, which JSON then writes in as few characters; None for what is not finite.

    Args:
      values: array of any shape.
      digits: significant ones.
    """
    x = np.asarray(values, np.float64)
    finite = np.isfinite(x)
    size = np.where(finite & (x != 0), np.abs(x), 1.0)
    places = digits - 1 - np.floor(np.log10(size))
    up, down = 10.0 ** np.maximum(places, 0), 10.0 ** np.maximum(-places, 0)  # both exact: the quotient is then the nearest
    short = np.round(np.where(finite, x, 0.0) * up / down) * down / up
    if finite.all():
        return short.tolist()
    return np.where(finite, short.astype(object), None).tolist()


def _bounded(encoded_items: Iterable[str], limit_bytes: int) -> Iterator[Sequence[str]]:
    items: list[str] = []
    size = 0
    for item in encoded_items:
        if items and size + len(item) + 1 > limit_bytes:
            yield items
            items, size = [], 0
        items.append(item)
        size += len(item) + 1
    if items:
        yield items
