"""Where this machine's processes listen: a file per process in the data folder, for `status`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

DEFAULT_API_URL = "http://127.0.0.1:8080"
DEFAULT_INGEST_URL = "http://127.0.0.1:8081"
DEFAULT_PROJECTOR_URL = "http://127.0.0.1:8082"

_FOLDER = "processes"


@contextmanager
def announced(data_dir: Path, rooms: Sequence[str], url: str) -> Iterator[None]:
    """Leave this process's address in the data folder while it serves."""
    file = data_dir / _FOLDER / f"{'+'.join(rooms)}.{os.getpid()}"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(url)
    except OSError:  # a folder that cannot be written hides the process from `status`, no more
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError):
            file.unlink()


def announced_urls(data_dir: Path) -> list[str]:
    """The addresses left by processes that still run on this machine; files of dead ones are removed."""
    urls = []
    for file in sorted((data_dir / _FOLDER).glob("*.*")):
        with suppress(OSError, ValueError):
            try:
                os.kill(int(file.suffix[1:]), 0)
            except ProcessLookupError:
                file.unlink()
                continue
            except PermissionError:
                pass
            urls.append(file.read_text())
    return urls
