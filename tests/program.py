"""Run `streamkit` from outside: commands that end, and processes that serve until they are stopped or killed."""

from __future__ import annotations

import json
import selectors
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp

from tests.streamkit.cli.running import environment

STREAMKIT = [str(Path(sys.executable).with_name("streamkit"))]
READY_S = 40.0
API = "/api/public/v2/"


def command(folder: Path, *arguments: str, **settings: str) -> Any:
    """What `streamkit ARGUMENTS --json` tells; fails the test unless it exits 0."""
    ran = run(folder, *arguments, "--json", **settings)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def run(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself."""
    return subprocess.run(
        [*STREAMKIT, *arguments],
        env=environment(folder, **settings),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Program:
    """A served command: started by `with`, stopped with SIGTERM at the end unless it was killed before."""

    def __init__(self, folder: Path, *arguments: str, port: int = 0, **settings: str) -> None:
        self._folder = folder
        self._arguments = [*arguments, "--port", str(port)]
        self._settings = settings
        self._process: subprocess.Popen[str] | None = None
        self.url = ""
        self.log = folder / f"{arguments[0]}.log"

    def __enter__(self) -> Program:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            assert self.stop() == 0, self.log.read_text()[-3000:]

    @property
    def process(self) -> subprocess.Popen[str]:
        """The running process."""
        assert self._process is not None, "it does not run"
        return self._process

    def start(self) -> None:
        """Start it and wait for its `ready` line; `url` is where it listens."""
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                [*STREAMKIT, *self._arguments],
                env=environment(self._folder, **self._settings),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        line = self._first_line()
        if not line.startswith("ready http://"):
            self.kill()
            raise AssertionError(f"{self._arguments[0]} is not ready: {line!r} {self.log.read_text()[-3000:]}")
        self.url = line.split()[1]

    def _first_line(self) -> str:
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            return self.process.stdout.readline() if selector.select(READY_S) else ""

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to stop; its exit code. Fails the test when it takes more than the 10 s it promises."""
        process, self._process = self.process, None
        process.send_signal(number)
        try:
            return process.wait(10.0)
        finally:
            _forget(process)

    def kill(self) -> None:
        """`kill -9`."""
        process, self._process = self.process, None
        process.kill()
        process.wait()
        _forget(process)

    def output(self) -> str:
        """What it wrote on stderr."""
        return self.log.read_text()


def _forget(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()
    assert process.stdout is not None
    process.stdout.close()


class Reader:
    """An API consumer with its three credentials."""

    def __init__(self, http: aiohttp.ClientSession, url: str, issued: dict[str, Any]) -> None:
        self._http = http
        self.url = url
        self.headers = {
            "X-Client-Id": issued["client_id"],
            "X-Client-Secret": issued["client_secret"],
            "Authorization": f"Bearer {issued['jwt']}",
        }

    async def get(self, path: str, *, at_least: str | None = None, **query: str) -> Any:
        """The `data` of `GET /api/public/v2/PATH`, as of a delivery's Streamkit-Position or later."""
        return (await self.document(path, at_least=at_least, **query))["data"]

    async def document(self, path: str, *, at_least: str | None = None, **query: str) -> Any:
        """The whole answer: `data` in its envelope."""
        headers = self.headers if at_least is None else {**self.headers, "Streamkit-Min-Position": at_least}
        async with self._http.get(self.url + API + path, headers=headers, params=query) as answer:
            document = await answer.json()
            assert answer.status == 200, document
            return document

    async def status(self, path: str = "overview") -> int:
        """The status of a GET."""
        async with self._http.get(self.url + API + path, headers=self.headers) as answer:
            return answer.status
