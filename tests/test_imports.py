"""Imports point one way; only launch, config and tasks know Config; --help loads no heavy library."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "saejax"
GROUND = {"errors", "files", "console", "machine", "metrics_log", "checkpoint", "compilation"}
# Each room, and the rooms it may import from (the ground floor is open to all).
ROOMS = {
    "lm": set(),
    "sae": set(),
    "activations": {"lm"},
    "training": {"sae"},
    "evaluation": {"sae", "lm"},
    "features": {"sae", "lm", "evaluation"},
    "interop": {"sae"},
    "reference": set(),
    "comparison": {"reference", "training", "evaluation", "activations", "sae", "lm"},
    "planning": {"lm", "sae", "activations", "training", "evaluation"},
    "live": {"sae", "lm", "evaluation", "features"},
    "interface": {"features"},
    "workdir": set(),
    "config": set(),
    "flags": {"config"},
    "tasks": {
        *("lm", "sae", "activations", "training", "evaluation", "interop", "reference", "comparison", "planning", "features"),
        *("interface", "live", "workdir", "config", "flags"),
    },
}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "saejax":
            parts = node.module.split(".")
            rooms |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            rooms |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("saejax.")}
    return rooms


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    room = room_of(path)
    if room == "__init__":
        return
    allowed = GROUND | {"__version__"} | ({room} | ROOMS[room] if room not in GROUND else set())
    assert imported_rooms(path) <= allowed


def test_the_interface_reads_records_and_no_model():
    code = (
        "import sys; from saejax.interface import serve, site; "
        "heavy = {'jax', 'transformers', 'tokenizers'} & set(sys.modules); sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent)
    assert done.returncode == 0, done.stderr


def test_help_loads_no_heavy_library():
    code = (
        "import sys, launch; status = launch.main(['launch.py', '--help']); "
        "heavy = {'jax', 'numpy', 'transformers', 'datasets', 'matplotlib', 'orbax', 'rich'} & set(sys.modules); "
        "sys.exit(f'{status} {heavy}' if status or heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent)
    assert done.returncode == 0, done.stderr
    assert "--l1_coefficient" in done.stdout
