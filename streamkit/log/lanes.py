"""How appends become batches on their way to a broker: one lane a partition, one batch at a time.

While a batch is under way, what is appended meanwhile collects into the next: many appends share a request without
any of them waiting for a clock. An append that is not through by its deadline fails; what the broker then still does
with it is open. What may not live here: the broker's client.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from schemas.errors import LogUnavailable
from streamkit.log.protocol import Appended, Record, check_records, partition_of

_BATCH_BYTES = 1 << 20
_RECORD_OVERHEAD_BYTES = 64
_TICK_S = 0.1

Deliver = Callable[[str, int, Sequence[Record]], Awaitable[int]]
"""Append records to (topic, partition), durably; the position of the first. Its errors mean: try again."""


class Lanes:
    """All lanes of a log. Belongs to the running event loop; each lane is a task of it."""

    def __init__(self, partitions: Mapping[str, int], deliver: Deliver) -> None:
        """`partitions` says how many each topic has."""
        self._lanes = {
            topic: [_Lane(topic, partition, deliver) for partition in range(count)]
            for topic, count in partitions.items()
        }

    async def append(self, topic: str, records: Sequence[Record], timeout_s: float) -> list[Appended]:
        """Append; returns when all are delivered. Raises RecordTooLarge, LogUnavailable after `timeout_s`."""
        check_records(records)
        if not records:
            return []
        loop = asyncio.get_running_loop()
        call = _Call(loop.create_future(), len(records))
        lanes, deadline = self._lanes[topic], loop.time() + timeout_s
        for nth, record in enumerate(records):
            lanes[partition_of(record.key, len(lanes))].put(_Item(call, nth, record, deadline))
        return await call.future

    async def close(self) -> None:
        """What is queued goes through or reaches its deadline; then the tasks end."""
        await asyncio.gather(*(lane.close() for lanes in self._lanes.values() for lane in lanes))


class _Call:
    """One append: its records may go down several lanes, and its future is answered when all are through."""

    def __init__(self, future: asyncio.Future[list[Appended]], records: int) -> None:
        self.future = future
        self._appended: list[Appended | None] = [None] * records
        self._missing = records

    def done(self, nth: int, appended: Appended) -> None:
        self._appended[nth] = appended
        self._missing -= 1
        if not self._missing and not self.future.done():
            self.future.set_result([place for place in self._appended if place is not None])

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class _Item(NamedTuple):
    """A record on its way, the `nth` of its call; `deadline` is on the loop's clock."""

    call: _Call
    nth: int
    record: Record
    deadline: float


class _Lane:
    """The way to one partition."""

    def __init__(self, topic: str, partition: int, deliver: Deliver) -> None:
        """Starts the lane's task; `close` ends it."""
        self._place = topic, partition
        self._deliver = deliver
        self._items: deque[_Item] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._reason = "no answer in time"
        self._task = asyncio.create_task(self._run(), name=f"lane {topic}/{partition}")

    def put(self, item: _Item) -> None:
        """Queue a record. Does not block."""
        self._items.append(item)
        self._wake.set()

    async def close(self) -> None:
        """What is queued goes through or reaches its deadline; then the task ends."""
        self._closing = True
        self._wake.set()
        await self._task

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._items:
                await self._send(self._group())
            if self._closing:
                return

    def _group(self) -> list[_Item]:
        """The oldest items, up to a batch."""
        group: list[_Item] = []
        size = 0
        while self._items and (not group or size < _BATCH_BYTES):
            item = self._items.popleft()
            size += len(item.record.value) + len(item.record.key) + _RECORD_OVERHEAD_BYTES
            group.append(item)
        return group

    async def _send(self, group: list[_Item]) -> None:
        """Deliver a group; meanwhile fail everything, in it or behind it, whose deadline passes."""
        delivery = asyncio.ensure_future(self._deliver(*self._place, [item.record for item in group]))
        while not delivery.done():
            await asyncio.wait({delivery}, timeout=_TICK_S)
            if not delivery.done() and not self._expire(group) and self._closing:
                delivery.cancel()
                await asyncio.wait({delivery})
                return
        try:
            first = delivery.result()
        except Exception as error:  # whatever it was: the same records again, until their deadlines
            self._reason = str(error) or type(error).__name__
            await asyncio.sleep(_TICK_S / 2)
            self._items.extendleft(reversed(group))
            self._expire(())
            return
        partition = self._place[1]
        for offset, item in enumerate(group, first + 1):
            item.call.done(item.nth, Appended(partition, offset))

    def _expire(self, group: Sequence[_Item]) -> bool:
        """Fail what is overdue, in `group` and in the queue; whether anybody still waits."""
        now = asyncio.get_running_loop().time()
        while self._items and self._items[0].deadline <= now:
            self._fail(self._items.popleft())
        for item in group:
            if item.deadline <= now:
                self._fail(item)
        return bool(self._items) or any(not item.call.future.done() for item in group)

    def _fail(self, item: _Item) -> None:
        topic, partition = self._place
        item.call.fail(
            LogUnavailable(
                f"Kafka did not take a record for {topic}/{partition} in time ({self._reason}): "
                "check that the broker runs and can be reached."
            )
        )
