"""`pydocs`: documentation strings are parsed, never imported, in an order that is the same in every process."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from saejax.lm import corpus, pydocs

ROOT = Path(__file__).parents[2]
READ = """
import itertools, json, sys
from saejax.lm import corpus
before = {name.split(".")[0] for name in sys.modules}
documents = [list(d) for d in itertools.islice(corpus.documents("pydocs"), 200)]
imported = {name.split(".")[0] for name in sys.modules} - before
print(json.dumps({"documents": documents, "imported": sorted(imported)}))
"""


def read_in_a_process(hash_seed):
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, "-c", READ], capture_output=True, text=True, env=environment, check=True)
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def first():
    return read_in_a_process("1")


@pytest.fixture(scope="module")
def files():
    return pydocs._files()


def test_two_processes_read_the_same_documents(first):
    assert read_in_a_process("2")["documents"] == first["documents"]


def test_no_package_is_imported(first):
    assert not set(pydocs.PACKAGES) & set(first["imported"])


def test_documents_are_long_enough_once_and_from_files_in_the_order_of_hashed_names(first):
    sources, texts = zip(*first["documents"])
    assert len(texts) == 200 == len(set(texts))
    names = list(dict.fromkeys(source.split(":")[0] for source in sources))
    digests = [hashlib.sha256(name.encode()).digest() for name in names]
    assert digests == sorted(digests)
    assert len({name.split("/")[0] for name in names}) >= 3, "the beginning mixes packages"


def test_a_source_names_the_object_whose_text_it_is(first, files):
    checked = 0
    for source, text in first["documents"][::10]:
        name, _, path = source.partition(":")
        node = ast.parse(files[name].read_bytes())
        for part in path.split(".") if path else []:
            node = [child for child in node.body if getattr(child, "name", None) == part][-1]
        words = ast.get_docstring(node, clean=False).split()
        assert words == text.split(), source
        checked += 1
    assert checked == 20


def test_tests_and_vendored_code_are_left_out(files):
    assert any(name.startswith("stdlib/") for name in files) and any(name.startswith("numpy/linalg/") for name in files)
    for name in files:
        assert not {"tests", "test", "site-packages", "_vendor"} & set(name.split("/")), name


LONG = "It has a text that is long enough to be kept, since it has more than sixty-four characters."
NESTED = f'''"""Module. {LONG}"""
class Outer:
    """Outer. {LONG}

        indented

    back
    """
    class Inner:
        """Inner. {LONG}"""
        async def method(self):
            """Method. {LONG}"""
    def short(self):
        """Too short."""
def function():
    """Function. {LONG}"""
    def local():
        """Local. {LONG}"""
    return 1
def bare():
    return "{LONG}"
value = 3
"""{LONG} But a string after an assignment documents nothing."""
'''


def test_nested_classes_and_functions_are_named_by_their_path(tmp_path):
    path = tmp_path / "a.py"
    path.write_text(NESTED)
    assert dict(pydocs._of_file("package/a.py", path)) == {
        "package/a.py:": f"Module. {LONG}",
        "package/a.py:Outer": f"Outer. {LONG}\n\n    indented\n\nback",
        "package/a.py:Outer.Inner": f"Inner. {LONG}",
        "package/a.py:Outer.Inner.method": f"Method. {LONG}",
        "package/a.py:function": f"Function. {LONG}",
        "package/a.py:function.local": f"Local. {LONG}",
    }


def test_the_minimum_length_is_inclusive(tmp_path):
    path = tmp_path / "a.py"
    path.write_text(f'def a():\n    """{"x" * 63}"""\ndef b():\n    """{"y" * 64}"""\n')
    assert list(pydocs._of_file("a.py", path)) == [("a.py:b", "y" * 64)]


@pytest.mark.parametrize("content", [b"def broken(:\n", b"\x00", b"# coding: nonsense\n", b"x = '\xff'\n", b""])
def test_a_file_that_does_not_parse_gives_nothing(content, tmp_path):
    path = tmp_path / "a.py"
    path.write_bytes(content)
    assert list(pydocs._of_file("a.py", path)) == []


def test_pydocs_needs_no_check():
    corpus.check("pydocs")
