"""A log written out whole: a prefix of every topic that was so at one moment, while others go on appending."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from streamkit.log.protocol import CONTROL, DEAD_LETTERS, EVENTS, VAULT, Batch, EventLog
from streamkit.transfer.beside import Beside
from streamkit.transfer.portable import Sink

ORDER = (CONTROL, VAULT, DEAD_LETTERS, EVENTS)
"""The few first: an import looks at them again after the many."""

Progress = Callable[[str, int, int | None], None]
"""Told (what is done, records so far, records in all or None), again and again."""

_LIMIT = 5_000


async def export_log(log: EventLog, sink: Sink, progress: Progress) -> dict[str, int]:
    """Give the sink everything there is now; how many records of each topic. The caller closes the sink.

    Holds two batches in memory. Raises LogUnavailable, and what the sink raises.
    """
    ends = await _ends(log)
    total = sum(min(p.end, ends[p.topic][p.partition]) - p.start for p in await log.info())
    written = dict.fromkeys(ORDER, 0)
    async with Beside() as thread:
        async for topic, partition, batch in _batches(log, ends):
            await thread.done()
            thread.start(sink.write, topic, partition, batch)
            written[topic] += len(batch.positions)
            progress("Exported", sum(written.values()), total)
        await thread.done()
    return written


async def _ends(log: EventLog) -> dict[str, tuple[int, ...]]:
    """Ends of one moment, so that what a record speaks of is there too.

    An event's broadcaster and a redriven letter's event come from before and after on two topics: so control has to
    stand still while the others are looked at. A letter that could not be folded lies after its event.
    """
    while True:
        control = await log.ends(CONTROL)
        ends = {topic: await log.ends(topic) for topic in (VAULT, DEAD_LETTERS, EVENTS)}
        if await log.ends(CONTROL) == control:
            return {CONTROL: control, **ends}


async def _batches(log: EventLog, ends: dict[str, tuple[int, ...]]) -> AsyncIterator[tuple[str, int, Batch]]:
    for topic in ORDER:
        for partition, end in enumerate(ends[topic]):
            position = 0
            while position < end:
                batch = await log.read(topic, partition, position, limit=_LIMIT, wait_s=1.0)
                if batch.next_position == position:
                    break  # what lies between here and the end is no record
                position = batch.next_position
                if topic == VAULT:  # a newer state removes the one that was there: read on to the newest
                    end = (await log.ends(VAULT))[partition]
                else:
                    batch = _before(batch, end)
                yield topic, partition, batch


def _before(batch: Batch, end: int) -> Batch:
    """The batch without what came after `end`."""
    count = len(batch.positions)
    while count and batch.positions[count - 1] >= end:
        count -= 1
    return Batch(batch.positions[:count], batch.keys[:count], batch.values[:count], end)
