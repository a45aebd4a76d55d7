"""A data folder belongs to one projector: files of its partitions come and go, so the folder itself is held."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from projector.database import FileInUse

_A_NAME = re.compile(r"[0-9a-f]{16}")


@contextmanager
def folder_held(data_dir: Path) -> Iterator[str]:
    """Hold the folder; the system lets go of it when the process ends, however it ends. Gives the folder's own name, which
    a projector that is started again in it has again (on this host: a copy elsewhere is another). Raises FileInUse."""
    data_dir.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(data_dir / "projector.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FileInUse(
                f"{data_dir} is held by another process: another `up` or `projector` runs on this data folder. Stop that "
                "one first, or give this one a folder of its own with STREAMKIT_DATA_DIR."
            ) from error
        name = os.read(descriptor, 64).decode(errors="replace")
        if not _A_NAME.fullmatch(name):
            name = secrets.token_hex(8)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, name.encode(), 0)
        yield f"{name}.{re.sub(r'[^A-Za-z0-9.-]', '-', socket.gethostname())[:100]}"
    finally:
        os.close(descriptor)
