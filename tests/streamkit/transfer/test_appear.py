"""Whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamkit.transfer.appear import appearing
from streamkit.transfer.portable import NotTransferred

BOTH = pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])


def write(partial: Path, text: str) -> None:
    (partial / "part" if partial.is_dir() else partial).write_text(text)


def text(path: Path) -> str:
    return (path / "part" if path.is_dir() else path).read_text()


@BOTH
def test_it_has_its_name_when_it_is_whole(tmp_path: Path, folder: bool) -> None:
    path = tmp_path / "export"
    with appearing(path, folder=folder) as partial:
        write(partial, "whole")
        assert not path.exists()
    assert text(path) == "whole"
    assert list(tmp_path.iterdir()) == [path]


@BOTH
def test_an_error_leaves_nothing(tmp_path: Path, folder: bool) -> None:
    with pytest.raises(KeyError), appearing(tmp_path / "export", folder=folder) as partial:  # noqa: PT012
        write(partial, "half")
        raise KeyError
    assert list(tmp_path.iterdir()) == []


@BOTH
def test_what_a_killed_process_left_is_not_in_the_next(tmp_path: Path, folder: bool) -> None:
    left = tmp_path / "export.partial"
    if folder:
        (left / "deep").mkdir(parents=True)
        (left / "deep" / "old").write_text("old")
    else:
        left.write_text("old, and longer than the new one")
    with appearing(tmp_path / "export", folder=folder) as partial:
        write(partial, "new")
    assert text(tmp_path / "export") == "new"
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["part" if folder else "export"]


@BOTH
def test_what_is_there_is_not_touched(tmp_path: Path, folder: bool) -> None:
    path = tmp_path / "export"
    path.write_text("precious")
    with pytest.raises(NotTransferred, match="exists already"), appearing(path, folder=folder):
        pass
    assert path.read_text() == "precious"


@BOTH
def test_two_at_once_are_kept_apart(tmp_path: Path, folder: bool) -> None:
    path = tmp_path / "export"
    with appearing(path, folder=folder) as partial:
        write(partial, "first")
        with pytest.raises(NotTransferred, match="Another process"), appearing(path, folder=folder):
            pass
    assert text(path) == "first"
