"""The generations of one data folder as files: what lies there, which one a partition was answered from last, what goes.

    generations/<g>/partition-<p>.duckdb   the read models
    generations/<g>/building.json          until the generation is whole; whoever builds it holds a lock on it
    generations/served-<p>.json            what the partition was answered from last

What may not live here: which generation is live (streamkit/generations.py).
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from projector.database import file_of, size_of
from projector.snapshots import folder_of
from schemas.errors import UNREADABLE, StreamkitError

S = TypeVar("S", bound=Struct)


class RebuildUnderWay(StreamkitError):
    """Another process builds a generation in this folder."""


class Building(Struct, frozen=True):
    """A generation that is not whole yet: of which log, and by which versions of the read models."""

    log_id: str
    versions: dict[str, int]


class _Served(Struct, frozen=True):
    log_id: str
    generation: int


class Shelf:
    """The generations in a data folder, as far as they are of one log. Every method blocks, for moments."""

    def __init__(self, data_dir: Path, snapshot_dir: Path, log_id: str) -> None:
        self._data_dir = data_dir
        self._folder = data_dir / "generations"
        self._snapshot_dir = snapshot_dir
        self._log_id = log_id

    def path(self, generation: int, partition: int) -> Path:
        """Where the file of a partition lies, or will lie."""
        return file_of(self._data_dir, generation, partition)

    def snapshots(self, generation: int) -> Path:
        """Where the snapshots of a generation lie."""
        return folder_of(self._snapshot_dir, self._log_id, generation)

    def partitions(self, generation: int) -> list[int]:
        """The partitions of which there is a file."""
        files = (self._folder / str(generation)).glob("partition-*.duckdb")
        return sorted(int(file.stem.removeprefix("partition-")) for file in files)

    def size_bytes(self, generation: int) -> int:
        """What all its files take."""
        return sum(size_of(file) for file in (self._folder / str(generation)).glob("*"))

    def served(self, partition: int) -> int | None:
        """Which generation the partition was answered from last; None when that is not known."""
        found = _read(self._folder / f"served-{partition}.json", _Served)
        return found.generation if found is not None and found.log_id == self._log_id else None

    def note_served(self, partition: int, generation: int) -> None:
        """From now on the partition is answered from this generation."""
        _write(self._folder / f"served-{partition}.json", _Served(self._log_id, generation))

    def building(self, generation: int) -> Building | None:
        """None: it is whole, or does not lie here."""
        found = _read(self._building(generation), Building)
        return found if found is not None and found.log_id == self._log_id else None

    def is_held(self, generation: int) -> bool:
        """Whether a process builds it now."""
        try:
            with _locked(self._building(generation), create=False):
                return False
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True

    @contextmanager
    def built(self, generation: int, versions: dict[str, int]) -> Iterator[None]:
        """Build it inside; whole when left without an error. Raises RebuildUnderWay when another process is at it."""
        note = self._building(generation)
        try:
            with _locked(note, create=True) as handle:
                os.ftruncate(handle, 0)
                os.pwrite(handle, msgspec.json.encode(Building(self._log_id, versions)), 0)
                yield
                note.unlink(missing_ok=True)
        except BlockingIOError:
            raise RebuildUnderWay(f"A rebuild of generation {generation} is under way already: wait for it.") from None

    def delete(self, generation: int) -> None:
        """Its files and its snapshots, and the space they take; idempotent. None of them may be open."""
        shutil.rmtree(self._folder / str(generation), ignore_errors=True)
        shutil.rmtree(self.snapshots(generation), ignore_errors=True)

    def _building(self, generation: int) -> Path:
        return self._folder / str(generation) / "building.json"


@contextmanager
def _locked(path: Path, *, create: bool) -> Iterator[int]:
    """Raises BlockingIOError while another process holds it, FileNotFoundError without `create`."""
    if create:
        path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0), 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield handle
    finally:
        os.close(handle)


def _read(path: Path, kind: type[S]) -> S | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, *UNREADABLE):
        return None


def _write(path: Path, content: Struct) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_bytes(msgspec.json.encode(content))
    partial.rename(path)
