"""Dead letters of ingest: verified deliveries that are no events (yet), kept verbatim, once each, within limits.

Whoever owns any Kick app can have Kick sign deliveries about any channel: without limits they would fill the log.
What may not live here: the decision what is parked; the codecs make it.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Literal

import msgspec
from msgspec import Struct

from schemas.dead_letter import DeadLetter, encode_dead_letter
from schemas.errors import UNREADABLE, LogUnavailable
from streamkit import telemetry
from streamkit.log.protocol import DEAD_LETTERS, EventLog, Record

MAX_PER_UNKNOWN_BROADCASTER = 1000
CATCH_UP_S = 1.0


class _Kept(Struct):
    # What the limits need of a letter; its body is not read.
    reason: str
    event_id: str
    platform: str | None = None
    broadcaster_id: str | None = None


_kept = msgspec.json.Decoder(_Kept)

Parking = Literal["parked", "already_parked", "dropped"]


class DeadLetterBox:
    """Appends dead letters. What other processes append is learnt before each letter, so that the limits are shared.

    `bytes_kept` is the size of all letters on the topic, `dropped` how many went over a limit in this process.
    """

    def __init__(self, log: EventLog, max_bytes: int) -> None:
        self._log = log
        self._max_bytes = max_bytes
        self._position = 0
        self._catching_up: asyncio.Task[None] | None = None
        self._kept: set[int] = set()
        self._per_broadcaster: dict[tuple[str, str], int] = {}
        self._under_way: dict[int, asyncio.Task[None]] = {}
        self.bytes_kept = 0
        self.dropped = 0

    async def start(self) -> None:
        """Read what the topic holds already. Raises LogUnavailable, LogClosed."""
        await self._catch_up()

    async def park(self, letter: DeadLetter) -> Parking:
        """Keep `letter` unless it is kept already or over a limit; returns when it is durable.

        Two letters are the same when event id and reason are. Raises LogUnavailable, LogClosed, RecordTooLarge: then
        it is not kept. Cancellation abandons the wait, not the append.
        """
        key = _key(letter.event_id, letter.reason)
        if key not in self._kept:
            await self._caught_up()
        if (under_way := self._under_way.get(key)) is not None:
            await asyncio.shield(under_way)
            return "already_parked"
        if key in self._kept:
            return "already_parked"
        value = encode_dead_letter(letter)
        if self._over_limit(letter, len(value)):
            self.dropped += 1
            telemetry.DEAD_LETTERS_DROPPED.labels(letter.reason).inc()
            return "dropped"
        self._count(key, len(value), letter.platform, letter.broadcaster_id, 1)
        append = asyncio.create_task(self._append(key, letter, value))
        self._under_way[key] = append
        append.add_done_callback(lambda _: self._under_way.pop(key, None))
        append.add_done_callback(_looked_at)
        await asyncio.shield(append)
        telemetry.DEAD_LETTERS_PARKED.labels(letter.reason).inc()
        return "parked"

    async def close(self) -> None:
        """Wait for the appends under way; idempotent."""
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)
        if self._catching_up is not None:
            self._catching_up.cancel()
            await asyncio.wait({self._catching_up})

    async def _append(self, key: int, letter: DeadLetter, value: bytes) -> None:
        try:
            await self._log.append(DEAD_LETTERS, [Record(key=letter.event_id, value=value)])
        except BaseException:
            self._count(key, -len(value), letter.platform, letter.broadcaster_id, -1)
            raise

    def _over_limit(self, letter: DeadLetter, size: int) -> bool:
        if self.bytes_kept + size > self._max_bytes:
            return True
        if letter.platform is None or letter.broadcaster_id is None:
            return False
        return self._per_broadcaster.get((letter.platform, letter.broadcaster_id), 0) >= MAX_PER_UNKNOWN_BROADCASTER

    def _count(self, key: int, size: int, platform: str | None, broadcaster_id: str | None, letters: int) -> None:
        self.bytes_kept += size
        if letters > 0:
            self._kept.add(key)
        else:
            self._kept.discard(key)
        if platform is not None and broadcaster_id is not None:
            whose = (platform, broadcaster_id)
            self._per_broadcaster[whose] = self._per_broadcaster.get(whose, 0) + letters

    async def _caught_up(self) -> None:
        """Wait, a second at most, until the topic is read to its end; all who wait share one reading."""
        if self._catching_up is None or self._catching_up.done():
            self._catching_up = asyncio.create_task(self._catch_up())
            self._catching_up.add_done_callback(_looked_at)
        try:
            async with asyncio.timeout(CATCH_UP_S):
                await asyncio.shield(self._catching_up)
        except TimeoutError:
            raise LogUnavailable(
                "The log did not tell its dead letters in time: check that it can be reached."
            ) from None

    async def _catch_up(self) -> None:
        while True:
            batch = await self._log.read(DEAD_LETTERS, 0, self._position)
            for value in batch.values:
                self._learn(value)
            if batch.next_position == self._position:
                return
            self._position = batch.next_position

    def _learn(self, value: bytes) -> None:
        try:
            letter = _kept.decode(value)
        except UNREADABLE:  # written by a newer build: its bytes count all the same
            self.bytes_kept += len(value)
            return
        key = _key(letter.event_id, letter.reason)
        if letter.reason == "fold_failed":
            self.bytes_kept += len(value)
        elif key not in self._kept:
            self._count(key, len(value), letter.platform, letter.broadcaster_id, 1)


def _looked_at(task: asyncio.Task[None]) -> None:
    # Whoever waited has given up, perhaps: then nobody else looks at the error, and asyncio would complain of that.
    if not task.cancelled():
        task.exception()


def _key(event_id: str, reason: str) -> int:
    # 8 bytes of a hash instead of the strings: a full topic may hold millions of letters.
    return int.from_bytes(hashlib.blake2b(f"{reason} {event_id}".encode(), digest_size=8).digest())
