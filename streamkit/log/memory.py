"""The event log in memory, for tests and trials: nothing is written, everything is kept until the object goes.

What may not live here: retention and compaction; those are the real adapters' business.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence

from schemas.errors import LogClosed
from streamkit.log.protocol import (
    EVENTS,
    TOPICS,
    Appended,
    Batch,
    PartitionInfo,
    Record,
    check_records,
    partition_of,
)


class MemoryLog:
    """An EventLog of one process. `partitions` is the number the events topic has; the other topics have one."""

    def __init__(self, partitions: int = 1) -> None:
        self._log_id = secrets.token_hex(16)
        self._records: dict[str, list[list[Record]]] = {
            topic: [[] for _ in range(partitions if topic == EVENTS else 1)] for topic in TOPICS
        }
        self._waiters: set[asyncio.Future[None]] = set()
        self._closed = False

    @property
    def log_id(self) -> str:
        """The log's own random id."""
        return self._log_id

    def partitions(self, topic: str) -> int:
        """How many partitions the topic has."""
        return len(self._records[topic])

    async def append(self, topic: str, records: Sequence[Record]) -> list[Appended]:
        """Append in order. Raises RecordTooLarge, LogClosed."""
        self._check_open()
        check_records(records)
        partitions = self._records[topic]
        appended = []
        for record in records:
            partition = partition_of(record.key, len(partitions))
            partitions[partition].append(record)
            appended.append(Appended(partition, len(partitions[partition])))
        self._wake()
        return appended

    async def read(self, topic: str, partition: int, position: int, *, limit: int = 1000, wait_s: float = 0.0) -> Batch:
        """Up to `limit` records from `position` on; waits up to `wait_s` seconds for the first. Raises LogClosed."""
        self._check_open()
        records = self._records[topic][partition]
        deadline = asyncio.get_running_loop().time() + wait_s
        while len(records) <= position and await self._woken(deadline):
            self._check_open()
        found = records[position : position + limit]
        return Batch(
            positions=list(range(position, position + len(found))),
            keys=[record.key for record in found],
            values=[record.value for record in found],
            next_position=position + len(found),
        )

    async def ends(self, topic: str) -> tuple[int, ...]:
        """The end position of every partition."""
        self._check_open()
        return tuple(len(records) for records in self._records[topic])

    async def info(self) -> list[PartitionInfo]:
        """Extent and size of every partition of every topic."""
        self._check_open()
        return [
            PartitionInfo(topic, partition, 0, len(records), sum(len(record.value) for record in records))
            for topic, partitions in self._records.items()
            for partition, records in enumerate(partitions)
        ]

    async def close(self) -> None:
        """Readers that wait get LogClosed; idempotent."""
        self._closed = True
        self._wake()

    def _check_open(self) -> None:
        if self._closed:
            raise LogClosed("The event log is closed; open it again to go on.")

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _woken(self, deadline: float) -> bool:
        """True after the next append or close, False when the deadline came first."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiters.add(waiter)
        try:
            async with asyncio.timeout_at(deadline):
                await waiter
        except TimeoutError:
            return False
        finally:
            self._waiters.discard(waiter)
        return True
