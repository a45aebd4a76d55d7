"""Where this machine's processes listen: a file per process in the data folder, for commands that look for them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec import Struct

DEFAULT_API_URL = "http://127.0.0.1:8080"
DEFAULT_INGEST_URL = "http://127.0.0.1:8081"
DEFAULT_PROJECTOR_URL = "http://127.0.0.1:8082"

_FOLDER = "processes"


class Process(Struct, frozen=True):
    """A process that serves: its rooms, its address, and the ids of the secret keys it knows."""

    rooms: tuple[str, ...]
    url: str
    key_ids: tuple[str, ...]


@contextmanager
def announced(data_dir: Path, process: Process) -> Iterator[None]:
    """Leave this process's address in the data folder while it serves."""
    file = data_dir / _FOLDER / f"{'+'.join(process.rooms)}.{os.getpid()}"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(" ".join((process.url, *process.key_ids)))
    except OSError:  # a folder that cannot be written hides the process from the commands, no more
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError):
            file.unlink()


def announced_processes(data_dir: Path) -> list[Process]:
    """The processes of this data folder that still run on this machine; files of dead ones are removed."""
    found = []
    for file in sorted((data_dir / _FOLDER).glob("*.*")):
        with suppress(OSError, ValueError):
            try:
                os.kill(int(file.suffix[1:]), 0)
            except ProcessLookupError:
                file.unlink()
                continue
            except PermissionError:
                pass
            url, *key_ids = file.read_text().split()
            found.append(Process(tuple(file.stem.split("+")), url, tuple(key_ids)))
    return found
