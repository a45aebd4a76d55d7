"""The processes of a round: started together, struck by faults, brought back as a supervisor would.

What may not live here: when what happens.
"""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from tests.chaos.plan import DISK, PARTS, Fault, Kind
from tests.program import Program
from tests.services.kafka import KafkaBroker
from tests.services.process import free_port
from tests.services.redis import RedisServer

KEY = base64.b64encode(bytes(range(32))).decode()
REVIVE_S = 60.0
RETRY_S = 0.2


class Deployment:
    """The parts of one kind of deployment in `folder`. Kafka and Redis are the caller's, and run."""

    def __init__(self, kind: Kind, folder: Path, broker: KafkaBroker | None = None, redis: RedisServer | None = None):
        self._folder = folder
        self._servers = {"kafka": broker, "redis": redis}
        self._locks = {part: asyncio.Lock() for part in (*PARTS[kind], DISK)}
        ports = {part: free_port() for part in PARTS[kind]}
        projectors = [f"http://127.0.0.1:{port}" for part, port in ports.items() if part.startswith("projector")]
        self.settings = {"STREAMKIT_SANDBOX": "1", "STREAMKIT_RATE_LIMIT": "0", "STREAMKIT_SECRET_KEY": KEY}
        if projectors:
            self.settings["STREAMKIT_PROJECTOR_URLS"] = ",".join(projectors)
        if broker is not None and redis is not None:
            self.settings["STREAMKIT_LOG_URL"] = f"kafka://{broker.bootstrap}"
            self.settings["STREAMKIT_REDIS_URL"] = redis.url
            self.settings["STREAMKIT_SNAPSHOT_DIR"] = str(folder / "snapshots")
        self.programs = {
            part: Program(self._own_folder(kind, part), part.split("-")[0], port=ports[part], **self.settings)
            for part in PARTS[kind]
            if part not in self._servers
        }
        self._stack = ExitStack()

    def _own_folder(self, kind: Kind, part: str) -> Path:
        """Over SQLite all rooms share a data folder; over Kafka each process has its own."""
        own = self._folder / part if kind == "kafka" else self._folder
        own.mkdir(exist_ok=True)
        return own

    async def __aenter__(self) -> Deployment:
        first, *others = self.programs.values()
        try:
            await self._start(first)  # makes the log and the sandbox streamer
            started = await asyncio.gather(*(self._start(program) for program in others), return_exceptions=True)
            for failed in (one for one in started if one is not None):
                raise failed
        except BaseException:
            self._stack.close()
            raise
        return self

    async def _start(self, program: Program) -> None:
        await asyncio.to_thread(program.start)
        self._stack.push(program.__exit__)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._stack.__exit__, kind, error, trace)

    def url(self, room: str, number: int = 0) -> str:
        """Where the room listens: that of `up`, or one of the room's processes."""
        urls = [program.url for part, program in self.programs.items() if part.split("-")[0] in (room, "up")]
        return urls[number % len(urls)]

    async def strike(self, fault: Fault) -> None:
        """Returns when the part is there again; one fault at a time for each part."""
        async with self._locks[fault.part]:
            if fault.part == DISK:
                await self._slow_disk(fault.lasts_s)
            elif server := self._servers.get(fault.part):
                await self._strike_server(server, fault)
            else:
                await self._strike_program(self.programs[fault.part], fault)

    async def _slow_disk(self, lasts_s: float) -> None:
        """Somebody else writes and flushes large files to the same disk as fast as it takes them."""
        busy = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _BUSY, str(self._folder / "busy"), stdin=subprocess.DEVNULL
        )
        try:
            await asyncio.sleep(lasts_s)
        finally:
            busy.kill()
            await busy.wait()
            (self._folder / "busy").unlink(missing_ok=True)

    async def _strike_server(self, server: KafkaBroker | RedisServer, fault: Fault) -> None:
        if fault.how == "pause":
            server.process.suspend()
            try:
                await asyncio.sleep(fault.lasts_s)
            finally:
                server.process.resume()
            return
        await asyncio.to_thread(server.kill)
        try:
            await asyncio.sleep(fault.lasts_s)
        finally:
            await asyncio.to_thread(server.start)

    async def _strike_program(self, program: Program, fault: Fault) -> None:
        if fault.how == "pause":
            pid = program.process.pid
            os.kill(pid, signal.SIGSTOP)
            try:
                await asyncio.sleep(fault.lasts_s)
            finally:
                os.kill(pid, signal.SIGCONT)
            return
        await asyncio.to_thread(program.kill)
        await asyncio.sleep(fault.lasts_s)
        await self._revive(program)

    async def _revive(self, program: Program) -> None:
        """Start it, again and again: what it needs may be away just now."""
        async with asyncio.timeout(REVIVE_S):
            while True:
                try:
                    await asyncio.to_thread(program.start)
                    return
                except AssertionError:
                    await asyncio.sleep(RETRY_S)


_BUSY = """
import os, sys
block = os.urandom(8 << 20)
with open(sys.argv[1], "wb") as file:
    while True:
        file.seek(0)
        file.write(block)
        file.flush()
        os.fsync(file.fileno())
"""
