from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from projector.commands import Commands
from schemas.control import BroadcasterRegistered, BroadcasterRemoved, encode_control
from schemas.errors import LogUnavailable
from schemas.event import utc_now
from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import CONTROL, Batch, Record

DEADLINE_S = 10.0


async def _put(log: MemoryLog, *user_ids: int) -> None:
    events = [BroadcasterRegistered(at=utc_now(), user_id=user_id, name="x") for user_id in user_ids]
    values = [b"not json", encode_control(BroadcasterRemoved(at=utc_now(), user_id=1)), *map(encode_control, events)]
    await log.append(CONTROL, [Record(key="x", value=value) for value in values])


async def test_handlers_see_the_past_then_what_comes_and_outlive_an_error() -> None:
    log = MemoryLog()
    await _put(log, 1, 2)
    seen: list[tuple[int, bool]] = []
    arrived = asyncio.Event()

    async def handler(event: BroadcasterRegistered, is_past: bool) -> None:
        seen.append((event.user_id, is_past))
        if event.user_id == 3:
            arrived.set()
        if event.user_id == 1:
            raise ZeroDivisionError

    commands = Commands(log)
    commands.on(BroadcasterRegistered, handler)
    following = asyncio.create_task(commands.follow())
    async with asyncio.timeout(DEADLINE_S):
        await commands.ready()
        assert seen == [(1, True), (2, True)]
        await _put(log, 3)
        await arrived.wait()
    assert seen[2:] == [(3, False)]
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following
    await log.close()


async def test_while_the_log_is_away_the_past_is_that_of_the_copy_and_it_goes_on_from_there() -> None:
    log, is_away = MemoryLog(), True
    await _put(log, 1)
    seen: list[tuple[int, bool]] = []
    arrived = asyncio.Event()

    class Away(MemoryLog):
        async def ends(self, topic: str) -> tuple[int, ...]:
            if is_away:
                raise LogUnavailable("away")
            return await log.ends(topic)

        async def read(
            self, topic: str, partition: int, position: int, *, limit: int = 1000, wait_s: float = 0.0
        ) -> Batch:
            if is_away:
                raise LogUnavailable("away")
            return await log.read(topic, partition, position, limit=limit, wait_s=wait_s)

    async def copy() -> AsyncIterator[Batch]:
        yield await log.read(CONTROL, 0, 0, limit=2)
        yield await log.read(CONTROL, 0, 2, limit=1)

    async def handler(event: BroadcasterRegistered, is_past: bool) -> None:
        seen.append((event.user_id, is_past))
        if event.user_id == 2:
            arrived.set()

    commands = Commands(Away(), copy)
    commands.on(BroadcasterRegistered, handler)
    following = asyncio.create_task(commands.follow())
    async with asyncio.timeout(DEADLINE_S):
        await commands.ready()
        assert seen == [(1, True)]
        await _put(log, 2)
        is_away = False
        await arrived.wait()
    assert seen == [(1, True), (2, False)]
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following
    await log.close()
