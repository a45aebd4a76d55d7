"""A note in the data folder that an import into its log is not at its end: where the next one goes on from."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from schemas.errors import UNREADABLE, Stop
from streamkit.transfer.appear import sync_folder
from streamkit.transfer.portable import NotTransferred

_FILE = "import.json"


class Unfinished(Struct, frozen=True):
    """`begins` are the ends that the log had before its first record came from `source`."""

    log_id: str
    source: str
    begins: dict[str, tuple[int, ...]]


class Note:
    """The data folder's note; made by `taken`."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / _FILE

    def of(self, log_id: str) -> Unfinished | None:
        """None: no import into the log of this id was begun, or it came to its end."""
        try:
            found = msgspec.json.decode(self._path.read_bytes(), type=Unfinished)
        except (FileNotFoundError, *UNREADABLE):
            return None
        return found if found.log_id == log_id else None

    def begin(self, unfinished: Unfinished) -> None:
        """Durable on return, before the first record is appended."""
        partial = self._path.with_suffix(".partial")
        with partial.open("wb") as file:
            file.write(msgspec.json.encode(unfinished))
            file.flush()
            os.fsync(file.fileno())
        partial.rename(self._path)
        sync_folder(self._path.parent)

    def end(self) -> None:
        """The import came to its end."""
        self._path.unlink(missing_ok=True)


@contextmanager
def taken(data_dir: Path) -> Iterator[Note]:
    """The note, for one process at a time. Raises NotTransferred while another imports."""
    data_dir.mkdir(parents=True, exist_ok=True)
    handle = os.open(data_dir, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield Note(data_dir)
    except BlockingIOError:
        raise NotTransferred(f"Another import into {data_dir} is under way: wait for it.") from None
    finally:
        os.close(handle)


def refuse_unfinished(data_dir: Path, log_id: str) -> None:
    """Raises Stop when the log was not imported to its end: what a room would append now belongs after the rest."""
    if (unfinished := Note(data_dir).of(log_id)) is not None:
        raise Stop(
            f"An import into this log is not at its end: run `streamkit log import --from {unfinished.source}` until "
            "it is, then start again."
        )
