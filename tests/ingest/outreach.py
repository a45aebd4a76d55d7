"""A deployment's ingest processes before the fake platforms, as far as subscriptions and websockets go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from ingest.eventsub import Listeners
from ingest.intake import Intake
from ingest.parking import DeadLetterBox
from ingest.subscriptions import Subscriptions
from schemas.event import Event, decode_event
from streamkit.leases import Leases
from streamkit.log.protocol import EVENTS, EventLog
from streamkit.platforms.parts import Platforms as Outward
from streamkit.redis import SoftState
from tests.streamkit.platforms.world import Process, World

DEADLINE_S = 15.0


class Ingest:
    """One process: tokens, an intake, and what runs in the background."""

    def __init__(self, process: Process, log: EventLog, soft: SoftState) -> None:
        self.process = process
        self.platforms = Outward(process.outgoing, process.kick, process.twitch, process.tokens)
        self.letters = DeadLetterBox(log, 1 << 20)
        self.intake = Intake(log, process.directory, soft, self.letters)
        self._soft = soft
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run it until `close`."""
        task = asyncio.create_task(work)
        self._tasks.append(task)
        return task

    def listeners(self, *, lease_s: float = 15.0) -> Listeners:
        """Not running yet."""
        url = self.process.settings.twitch_eventsub_ws_url
        return Listeners(url, self.platforms, self.intake, Leases(self._soft, "eventsub", lease_s=lease_s))

    def subscriptions(self, callback: str | None = None, secret: bytes | None = None) -> Subscriptions:
        """Not running yet."""
        leases = Leases(self._soft, "subscriptions", lease_s=3.0)
        return Subscriptions(self.platforms, self.process.directory, leases, callback=callback, secret=secret)

    async def close(self) -> None:
        """As a process that is asked to stop; a task that failed fails the test."""
        for task in self._tasks:
            task.cancel()
        outcomes = await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.letters.close()
        assert not [each for each in outcomes if isinstance(each, Exception)]


async def ingest_of(world: World) -> Ingest:
    """A process with soft state of its own."""
    process = await world.process()
    return Ingest(process, world.log, process.soft)


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait for what a background task brings about."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            holds = condition()
            if holds if isinstance(holds, bool) else await holds:
                return
            await asyncio.sleep(0.01)


async def events_of(log: EventLog) -> list[Event]:
    """All events on the log."""
    values: list[bytes] = []
    for partition, end in enumerate(await log.ends(EVENTS)):
        values += (await log.read(EVENTS, partition, 0, limit=end + 1)).values
    return [decode_event(value) for value in values]
