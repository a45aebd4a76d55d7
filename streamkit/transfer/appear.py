"""A file or folder that is whole from the first moment on that it has its name, whatever ends the writing."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamkit.transfer.portable import NotTransferred


@contextmanager
def appearing(path: Path, *, folder: bool) -> Iterator[Path]:
    """Give the place to write to, `path` with `.partial`; it becomes `path` when the block ends, and goes on an error.

    What a killed process left there is removed by the next for the same `path`. Raises NotTransferred when `path`
    exists or another process writes to it, OSError.
    """
    if path.exists():
        raise NotTransferred(f"{path} exists already: remove it, or export to another name.")
    partial = path.with_name(path.name + ".partial")
    if folder:
        partial.mkdir(mode=0o700, exist_ok=True)
    handle = os.open(partial, os.O_RDONLY if folder else os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(handle, partial)
        try:
            _clear(partial)
            yield partial
        except BaseException:
            _remove(partial)
            raise
        partial.rename(path)
        sync_folder(path.parent)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Bring a folder's list of files to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _lock(handle: int, partial: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise NotTransferred(f"Another process is writing {partial}: wait for it, or export to another name.") from None


def _clear(partial: Path) -> None:
    if not partial.is_dir():
        os.truncate(partial, 0)
        return
    for child in partial.iterdir():
        _remove(child)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
