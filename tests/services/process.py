"""One server process of the tests: started, killed, started again, and never left behind.

A guard (a shell that waits on a pipe) kills the server when the test runner is gone, however it went.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

_PORTS_EACH = 4_000
_PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_FIRST = random.randrange(_PORTS_EACH)  # another run may be at it on this machine
_PORTS = itertools.cycle(10_000 + _PROCESS * _PORTS_EACH + (_FIRST + n) % _PORTS_EACH for n in range(_PORTS_EACH))


class ServerProcess:
    """A server that listens on 127.0.0.1:`port`. Not started by the constructor."""

    def __init__(self, arguments: Sequence[str], port: int, output: Path) -> None:
        """`output` takes what the server prints; its end is shown when the server does not come up."""
        self.port = port
        self._arguments = list(arguments)
        self._output = output
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The running server's process id."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self, timeout_s: float = 60.0) -> None:
        """Start it and wait for its port. Raises RuntimeError with what it printed when it ends or takes too long."""
        assert not self.is_running, "the server runs already"
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                self._arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        self._guard = subprocess.Popen(
            ["sh", "-c", f"read _; kill -9 {self.pid}"], stdin=subprocess.PIPE, start_new_session=True
        )
        deadline = time.monotonic() + timeout_s
        while not is_listening(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self._arguments[0]} did not come up: {self._output.read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self, grace_s: float = 20.0) -> None:
        """End it by SIGTERM, after `grace_s` by SIGKILL; idempotent."""
        self._end(signal.SIGTERM, grace_s)

    def kill(self) -> None:
        """`kill -9`; idempotent."""
        self._end(signal.SIGKILL, 10.0)

    def suspend(self) -> None:
        """SIGSTOP: it holds its connections and answers nothing, like a machine that hangs."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, how: signal.Signals, grace_s: float) -> None:
        process, guard, self._process, self._guard = self._process, self._guard, None, None
        if process is None or guard is None:
            return
        process.send_signal(how)
        try:
            process.wait(grace_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        guard.kill()
        guard.communicate()


def is_listening(port: int) -> bool:
    """Whether something takes connections on 127.0.0.1:`port`."""
    with socket.socket() as client:
        client.settimeout(1.0)
        return client.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on right now, and that nobody else is given meanwhile: below those that
    the system gives to connections, and each process of a test run has some of its own."""
    for port in _PORTS:
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                server.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no port is free")
