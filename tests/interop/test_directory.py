"""A directory appears whole, or the one that was there stays."""

from __future__ import annotations

import pytest

from saejax.errors import InputError
from saejax.interop.directory import replaced_whole


def write(directory, text):
    with replaced_whole(directory) as partial:
        (partial / "file").write_text(text)


def test_takes_the_place_of_what_was_there(tmp_path):
    write(tmp_path / "deep" / "a", "1")
    (tmp_path / "deep" / "a" / "stale").touch()
    (tmp_path / "deep" / ".a.partial").mkdir()  # of a run that was killed
    (tmp_path / "deep" / ".a.partial" / "half").touch()
    write(tmp_path / "deep" / "a", "2")
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["a"]
    assert [p.name for p in (tmp_path / "deep" / "a").iterdir()] == ["file"]


def test_a_link_to_a_directory_stays_one(tmp_path):
    write(tmp_path / "real", "1")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write(tmp_path / "link", "2")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / "file").read_text() == "2"


def test_an_error_leaves_the_old_one(tmp_path):
    write(tmp_path / "a", "1")
    with pytest.raises(KeyboardInterrupt), replaced_whole(tmp_path / "a") as partial:
        (partial / "file").write_text("2")
        raise KeyboardInterrupt
    assert [p.name for p in tmp_path.iterdir()] == ["a"] and (tmp_path / "a" / "file").read_text() == "1"


def test_a_file_is_no_place_for_a_directory(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(InputError, match="is a file"):
        write(tmp_path / "a", "1")
