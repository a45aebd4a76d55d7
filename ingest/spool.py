"""The spool: what the log has not taken in time, durably in a file of this process, in the order it came.

A queue: `put` at one end, `oldest` and `taken` at the other (ingest/drain.py). While it holds anything, what comes
joins it. What may not live here: what becomes of a record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from schemas.dead_letter import DeadLetter, encode_dead_letter
from schemas.errors import LogUnavailable
from schemas.event import received_at, utc_now
from streamkit import telemetry
from streamkit.health import Spooled
from streamkit.log.protocol import EVENTS, Batch, Record
from streamkit.log.sqlite import SqliteLog

FULL_RETRY_AFTER_S = 10
_ROW_BYTES = 32
_WAIT_S = 0.5

UNJUDGED = "unjudged"
"""The key of a delivery that is no event yet; an event's is its user_id, as on the log."""


def unjudged(letter: DeadLetter) -> Record:
    """What is spooled of a delivery that is no event for what is known now."""
    return Record(UNJUDGED, encode_dead_letter(letter))


class Spool:
    """The queue in `file`. `events` is what it holds, what is being put in included: 0 means that it is not in use."""

    def __init__(self, file: SqliteLog, max_bytes: int) -> None:
        """`file` is this process's alone, and closed by the caller."""
        self._file = file
        self._max_bytes = max_bytes
        self._oldest_at: datetime | None = None
        self._putting = 0
        self._filled = asyncio.Event()
        self.events = 0
        self.bytes = 0

    async def start(self) -> None:
        """Learn what the file holds already. Raises LogUnavailable."""
        extent = next(one for one in await self._file.info() if one.topic == EVENTS)
        self._add(extent.end - extent.start, extent.size_bytes or 0)
        if self.events:
            await self.oldest(1)
            telemetry.warn("spool.not_empty_at_start", events=self.events, bytes=self.bytes)

    async def put(self, records: Sequence[Record]) -> None:
        """Keep `records` in this order, all or none; durable on return.

        Raises LogUnavailable when the spool is full or its disk takes nothing: then none is kept.
        """
        size = sum(len(record.value) + _ROW_BYTES for record in records)
        if self.bytes + size > self._max_bytes:
            raise LogUnavailable(
                "The event log is away and the spool is full: bring the log back, or raise STREAMKIT_SPOOL_MAX_BYTES.",
                FULL_RETRY_AFTER_S,
            )
        if not self.events:
            telemetry.warn("spool.in_use")
        if self._oldest_at is None:
            self._oldest_at = utc_now()
        self._add(len(records), size)
        self._putting += 1
        try:
            await self._file.append(EVENTS, records)
        except asyncio.CancelledError:
            raise  # it will be there all the same
        except BaseException:
            self._add(-len(records), -size)
            raise
        finally:
            self._putting -= 1

    async def filled(self) -> None:
        """Returns when it holds something."""
        await self._filled.wait()

    async def oldest(self, limit: int) -> Batch:
        """The oldest records, in the order they came; empty when there are none. Raises LogUnavailable, LogClosed."""
        batch = await self._file.read(EVENTS, 0, 0, limit=limit, wait_s=_WAIT_S if self._putting else 0.0)
        if batch.values:
            self._oldest_at = received_at(batch.values[0]) or self._oldest_at
        elif not self._putting:
            self._add(-self.events, 0)
        return batch

    async def taken(self, batch: Batch) -> None:
        """Forget the oldest records: they are elsewhere, durably. Raises LogUnavailable: they may come again."""
        if not batch.values:
            return
        await self._file.discard(EVENTS, 0, batch.next_position)
        self._add(-len(batch.values), -sum(len(value) + _ROW_BYTES for value in batch.values))
        if self.events == 0:
            telemetry.info("spool.empty")

    def told(self) -> Spooled:
        """What it holds, for operators; brings the gauges up to now."""
        age_s = 0.0 if self._oldest_at is None else max(0.0, (utc_now() - self._oldest_at).total_seconds())
        telemetry.SPOOL_EVENTS.set(self.events)
        telemetry.SPOOL_BYTES.set(self.bytes)
        telemetry.SPOOL_OLDEST_SECONDS.set(age_s)
        return Spooled(self.events, self.bytes, round(age_s, 3))

    def _add(self, events: int, size: int) -> None:
        self.events = max(0, self.events + events)
        self.bytes = max(0, self.bytes + size) if self.events else 0
        if self.events:
            self._filled.set()
        else:
            self._filled.clear()
            self._oldest_at = None
