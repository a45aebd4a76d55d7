"""A data folder belongs to one projector: files of its partitions come and go, so the folder itself is held."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from projector.database import FileInUse


@contextmanager
def folder_held(data_dir: Path) -> Iterator[None]:
    """Hold the folder; the system lets go of it when the process ends, however it ends. Raises FileInUse."""
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
        yield
    finally:
        os.close(descriptor)
