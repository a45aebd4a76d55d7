"""From the spool to the log: its records in their order, each where it would have gone had the log been there.

An event goes to the events as it is. A delivery that was no event for what was known then is judged anew, over the
directory as it is now. Killed between the log and the spool, the next drain appends some events again, and the fold
drops them. What may not live here: what is spooled, and when.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from msgspec.structs import replace

from ingest.parking import DeadLetterBox
from ingest.redrive import look_anew
from ingest.spool import UNJUDGED, Spool
from schemas.dead_letter import DeadLetter, decode_dead_letter
from schemas.errors import UNREADABLE, LogClosed, LogUnavailable
from schemas.event import EventHead, decode_event_head
from streamkit.directory import Directory
from streamkit.log.events import headers_of
from streamkit.log.protocol import DEAD_LETTERS, EVENTS, Appended, Batch, EventLog, Record
from streamkit.redrive import StillDead
from streamkit.standby import StandbyFile

MOST_AT_ONCE = 1_000
LOOK_AROUND_S = 10.0
_RETRY_FIRST_S = 0.1
_RETRY_LAST_S = 1.0

OnAppended = Callable[[EventHead, Appended], None]
"""Called for each event that has come onto the log from the spool."""


class Drain:
    """Empties `spool`, and the files that other processes of this data folder left behind."""

    def __init__(
        self,
        spool: Spool,
        file: StandbyFile,
        log: EventLog,
        directory: Directory,
        letters: DeadLetterBox,
        on_appended: OnAppended,
    ) -> None:
        self._spool = spool
        self._file = file
        self._log = log
        self._directory = directory
        self._letters = letters
        self._on_appended = on_appended

    async def run(self) -> None:
        """Until cancelled or the log is closed. A task of the process: what it raises must end that."""
        with suppress(LogClosed):
            while True:
                await self._empty(self._spool)
                await self._empty_left_behind()
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_AROUND_S):
                        await self._spool.filled()

    async def _empty(self, spool: Spool) -> None:
        """Returns when nothing is left. While the log is away a record or a few knock at its door."""
        limit, pause_s = 1, _RETRY_FIRST_S
        while spool.events:
            try:
                batch = await spool.oldest(limit)
                await self._move(batch)
                await spool.taken(batch)
            except LogUnavailable:
                limit = max(1, limit // 4)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _RETRY_LAST_S)
            else:
                limit, pause_s = min(limit * 2, MOST_AT_ONCE), _RETRY_FIRST_S

    async def _empty_left_behind(self) -> None:
        while (file := await self._file.left_behind()) is not None:
            is_empty = False
            try:
                spool = Spool(file.log, 0)
                await spool.start()
                await self._empty(spool)
                is_empty = True
            finally:
                await file.close(delete=is_empty)

    async def _move(self, batch: Batch) -> None:
        """Bring the records of a batch to the log. Raises LogUnavailable: then all of them have to come again."""
        letters, records = await self._sorted(batch)
        parked = await asyncio.gather(*map(self._letters.park, letters), return_exceptions=True)
        for result in parked:
            if isinstance(result, BaseException):
                raise result
        for topic in (DEAD_LETTERS, EVENTS):
            going = [record for to, record in records if to == topic]
            if going:
                for record, place in zip(going, await self._log.append(topic, going), strict=True):
                    if topic == EVENTS and record.headers:
                        self._on_appended(EventHead(*(value for _, value in record.headers)), place)

    async def _sorted(self, batch: Batch) -> tuple[list[DeadLetter], list[tuple[str, Record]]]:
        """What is to be parked, and what is to be appended where."""
        judged = self._judged(batch)
        if any(isinstance(one, DeadLetter) and one.reason == "unknown_broadcaster" for one in judged):
            if not await self._directory.refresh():
                raise LogUnavailable("The event log does not tell who is registered: check that it can be reached.")
            judged = self._judged(batch)
        letters = [one for one in judged if isinstance(one, DeadLetter)]
        return letters, [one for one in judged if isinstance(one, tuple)]

    def _judged(self, batch: Batch) -> list[DeadLetter | tuple[str, Record] | None]:
        return [self._judge(key, value) for key, value in zip(batch.keys, batch.values, strict=True)]

    def _judge(self, key: str, value: bytes) -> DeadLetter | tuple[str, Record] | None:
        """None for what would count a fact twice. What this build cannot read goes on as it is, for one that can."""
        try:
            if key != UNJUDGED:
                head = decode_event_head(value)
                return EVENTS, Record(key, value, headers_of(head))
            letter = decode_dead_letter(value)
        except UNREADABLE:
            return DEAD_LETTERS if key == UNJUDGED else EVENTS, Record(key, value)
        anew = look_anew(letter, self._directory.broadcaster_of)
        if isinstance(anew, StillDead):
            return replace(letter, reason=anew.reason, detail=anew.detail, broadcaster_id=anew.broadcaster_id)
        return None if anew is None else (EVENTS, anew)
