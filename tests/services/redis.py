"""A real Redis server for the tests: on loopback, nothing kept on disk."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.services.process import ServerProcess, free_port

HOW_TO_ENABLE = (
    "no Redis: run `apt-get install -y redis-server`, or set STREAMKIT_TEST_REDIS=redis://host:port to a server"
)


def is_available() -> bool:
    """Whether a server can be started here."""
    return shutil.which("redis-server") is not None


class RedisServer:
    """One server on one port; what it held is gone when it ends."""

    def __init__(self, folder: Path) -> None:
        """`start` starts it."""
        port = free_port()
        self.url = f"redis://127.0.0.1:{port}"
        address = ["--bind", "127.0.0.1", "--port", str(port)]
        nothing_kept = ["--save", "", "--appendonly", "no", "--dir", str(folder)]
        self.process = ServerProcess(["redis-server", *address, *nothing_kept], port, folder / "output.txt")

    def start(self) -> None:
        """Start and wait until it takes connections."""
        self.process.start(10.0)

    def kill(self) -> None:
        """`kill -9`."""
        self.process.kill()

    def restart(self) -> None:
        """Start it again, empty, on the same port."""
        self.process.kill()
        self.process.start(10.0)
