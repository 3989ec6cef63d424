"""`--dataset=pydocs`: the documentation strings that every installation of saejax has.

Those of the Python standard library and of the packages that saejax depends on. Files are parsed with `ast` and
never imported. Their order is that of a hash of their names, so any beginning of the text mixes all packages.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

PACKAGES = (
    "absl", "anyio", "chex", "click", "contourpy", "cycler", "datasets", "dateutil", "dill", "etils", "filelock", "flax",
    "fontTools", "fsspec", "huggingface_hub", "humanize", "jax", "jaxlib", "kiwisolver", "markdown_it", "matplotlib",
    "ml_dtypes", "msgpack", "multiprocess", "numpy", "opt_einsum", "optax", "orbax", "packaging", "pandas", "PIL", "psutil",
    "pyarrow", "pydantic", "pygments", "pyparsing", "regex", "rich", "safetensors", "scipy", "tensorstore", "tokenizers",
    "toolz", "tqdm", "transformers", "treescope", "typer", "yaml",
)  # fmt: skip
MINIMUM_CHARACTERS = 64
_LEFT_OUT = {"tests", "test", "testing", "__pycache__", "site-packages", "lib2to3", "idlelib", "_vendor"}
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def docstrings() -> Iterator[tuple[str, str]]:
    """Yields (source, text) for each documentation string, cleaned of its indentation; repeats are not left out.

    The source reads `numpy/linalg/_linalg.py:norm`.
    """
    for name, path in sorted(_files().items(), key=lambda item: hashlib.sha256(item[0].encode()).digest()):
        yield from _of_file(name, path)


def _files() -> dict[str, Path]:
    """Name from the package's root → path, of every Python file that is read."""
    roots = {"stdlib": Path(sysconfig.get_paths()["stdlib"])}
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec and spec.submodule_search_locations:
            roots[package] = Path(list(spec.submodule_search_locations)[0])
    found = {}
    for root_name, root in roots.items():
        for path in root.rglob("*.py"):
            relative = path.relative_to(root)
            if not _LEFT_OUT.intersection(relative.parts):
                found[f"{root_name}/{relative.as_posix()}"] = path
    return found


def _of_file(name: str, path: Path) -> Iterator[tuple[str, str]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError, OSError):
        return  # a template or a file for another Python: it holds no documentation that could be read
    yield from _of_node(tree, f"{name}:")


def _of_node(node: ast.AST, qualified_name: str) -> Iterator[tuple[str, str]]:
    text = ast.get_docstring(node)
    if text and len(text) >= MINIMUM_CHARACTERS:
        yield qualified_name, text
    for child in node.body:
        if isinstance(child, _DOCUMENTED):
            separator = "" if qualified_name.endswith(":") else "."
            yield from _of_node(child, f"{qualified_name}{separator}{child.name}")
