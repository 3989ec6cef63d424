"""The cache of compiled programs: a second process loads what the first compiled, to the same bits; bad folders are refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from saejax import compilation, tasks
from saejax.config import Config
from saejax.errors import InputError

PROGRAM = """
import sys
import jax, jax.numpy as jnp
from saejax import compilation
compilation.use_cache(sys.argv[1])
events = []
jax.monitoring.register_event_listener(lambda event, **about: events.append(event))
x = jnp.linspace(0, 1, 4096).reshape(64, 64)
y = jax.jit(lambda a: jnp.tanh(a @ a).sum(0))(x)
print(events.count("/jax/compilation_cache/cache_hits"), bytes(y.tobytes()).hex())
"""


def run(folder: Path) -> tuple[int, str]:
    command = [sys.executable, "-c", PROGRAM, str(folder)]
    done = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    hits, result = done.stdout.split()
    return int(hits), result


def test_a_second_process_loads_what_the_first_compiled(tmp_path):
    hits, result = run(tmp_path)
    files = sorted(tmp_path.rglob("*-cache"))
    assert hits == 0 and files
    assert run(tmp_path) == (len(files), result)
    assert sorted(tmp_path.rglob("*-cache")) == files
    assert [folder.stat().st_mode & 0o777 for folder in tmp_path.iterdir()] == [0o700]


@pytest.fixture
def no_cache():
    yield
    compilation.use_cache("")


def test_no_cache_writes_nothing_and_another_folder_takes_the_next_programs(tmp_path, no_cache):
    def compile_one(n: int) -> None:
        jax.block_until_ready(jax.jit(lambda x: x * n + 1)(jnp.ones(3)))

    for n, name in enumerate(("a", "b")):
        compilation.use_cache(str(tmp_path / name))
        compile_one(n)
        assert list((tmp_path / name).rglob("*-cache"))
    before = sorted(tmp_path.rglob("*"))
    compilation.use_cache("")
    compile_one(2)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_cannot_be_written_is_refused_unless_it_is_the_default(tmp_path, monkeypatch, capsys, no_cache):
    (tmp_path / "file").touch()
    folder = str(tmp_path / "file" / "cache")
    with pytest.raises(InputError, match="--compilation_cache=.*cannot be written"):
        tasks.run(Config(compilation_cache=folder, workdir=str(tmp_path / "run")))
    monkeypatch.setattr(Config, "compilation_cache", folder)
    with pytest.raises(InputError, match="--model"):
        tasks.run(Config(compilation_cache=folder, workdir=str(tmp_path / "run"), model="./no/such/folder"))
    assert "cannot be written" in capsys.readouterr().err
