"""A log taken in whole: into an empty one, resumable after any end, nothing twice.

Which record goes where follows from the source alone: its order, the new log's partitions, the positions this began
at. So an import that is begun again counts off what is there, compares the last record of each partition, and goes on.
Events come first; then the rest, whose records may name places of events (places.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from itertools import groupby
from operator import attrgetter

from msgspec import Struct

from schemas.control import LogCreated, decode_control
from schemas.errors import UNREADABLE
from schemas.event import decode_event_head
from streamkit.log.events import headers_of
from streamkit.log.protocol import (
    CONTROL,
    DEAD_LETTERS,
    EVENTS,
    TOPICS,
    VAULT,
    Appended,
    EventLog,
    Record,
    check_records,
    partition_of,
)
from streamkit.transfer.beside import ahead
from streamkit.transfer.exporting import Progress
from streamkit.transfer.places import Place, moved, places_in
from streamkit.transfer.portable import NotTransferred, Source, Stored
from streamkit.transfer.unfinished import Note, Unfinished

OTHERS = (CONTROL, VAULT, DEAD_LETTERS)


class Imported(Struct, frozen=True):
    """What the log holds of the source now: `records` by topic, of which this run appended `appended`."""

    records: dict[str, int]
    appended: int


async def import_log(log: EventLog, source: Source, name: str, note: Note, progress: Progress) -> Imported:
    """Append what `source` (told as `name`) has, all of it, to an empty log or to what an import left unfinished.

    The source is read through and checked before anything is appended. Records that name a log are left out: this one
    has an id of its own. Raises NotTransferred, LogUnavailable (then the same import goes on later).
    """
    unfinished = note.of(log.log_id)
    if unfinished is None:
        await _check_empty(log)
        unfinished = Unfinished(log.log_id, name, {topic: await log.ends(topic) for topic in TOPICS})
    survey = _Survey()
    async with aclosing(ahead(source.read())) as chunks:
        async for chunk in chunks:
            survey.look_at(chunk)
            progress("Checked", sum(survey.records.values()), None)
    note.begin(unfinished)
    work = _Import(log, name, survey, unfinished.begins, {topic: await log.ends(topic) for topic in TOPICS}, progress)
    await work.run(source)
    note.end()
    return Imported(survey.records, work.appended)


def _names_a_log(topic: str, value: bytes) -> bool:
    try:
        return topic == CONTROL and isinstance(decode_control(value), LogCreated)
    except UNREADABLE:
        return False


async def _check_empty(log: EventLog) -> None:
    for part in await log.info():
        if part.start == part.end:
            continue
        values = (await log.read(part.topic, part.partition, part.start)).values
        if not all(_names_a_log(part.topic, value) for value in values):
            raise NotTransferred(
                f"The log holds records already ({part.topic} up to position {part.end}), and an import takes an empty "
                "one: set STREAMKIT_DATA_DIR to a new folder, or STREAMKIT_LOG_URL to brokers without StreamKit's topics."
            )


class _Survey:
    """What a source holds, found out before the first record goes anywhere."""

    def __init__(self) -> None:
        self.records = dict.fromkeys(TOPICS, 0)
        self.places: set[Place] = set()
        self._last: dict[tuple[str, int], int] = {}

    def look_at(self, chunk: Sequence[Stored]) -> None:
        """Raises NotTransferred, RecordTooLarge for a record that no import can take."""
        for stored in chunk:
            if stored.topic not in self.records:
                raise NotTransferred(f"There is no topic {stored.topic!r}: {', '.join(TOPICS)} are imported.")
            where = stored.topic, stored.partition
            if self._last.get(where, -1) >= stored.position:
                raise NotTransferred(
                    f"After position {self._last[where]} of {stored.topic}/{stored.partition} comes {stored.position}: "
                    "the records of a partition have to be there once, in their order."
                )
            self._last[where] = stored.position
            if not _names_a_log(stored.topic, stored.value):
                self.records[stored.topic] += 1
            if stored.topic != EVENTS:
                self.places.update(places_in(stored.topic, stored.value))
        check_records([Record(stored.key, stored.value) for stored in chunk])


def record_of(stored: Stored) -> Record:
    """The record as it was appended first: with the headers of an event, which tell what its value tells too."""
    if stored.topic == EVENTS:
        try:
            return Record(stored.key, stored.value, headers_of(decode_event_head(stored.value)))
        except UNREADABLE:
            pass
    return Record(stored.key, stored.value)


class _Import:
    """One run. `_next` is where the source's next record of a topic's partition goes, `_ends` where it was left."""

    def __init__(
        self,
        log: EventLog,
        name: str,
        survey: _Survey,
        begins: dict[str, tuple[int, ...]],
        ends: dict[str, tuple[int, ...]],
        progress: Progress,
    ) -> None:
        self.appended = 0
        self._log = log
        self._name = name
        self._survey = survey
        self._next = {topic: list(positions) for topic, positions in begins.items()}
        self._ends = ends
        self._places: dict[Place, Place] = {}
        self._progress = progress
        self._done = 0

    async def run(self, source: Source) -> None:
        """Events, then the rest; in the end nothing else is there."""
        for topics in ((EVENTS,), OTHERS):
            wanted = self._done + sum(self._survey.records[topic] for topic in topics)
            if self._done == wanted:
                continue
            async with aclosing(ahead(source.read(topics))) as chunks:
                async for chunk in chunks:
                    for topic, group in groupby(chunk, key=attrgetter("topic")):
                        await self._take(topic, [stored for stored in group if not _names_a_log(topic, stored.value)])
                    if self._done == wanted:
                        break  # an export has these at its beginning
        for topic in TOPICS:
            if list(await self._log.ends(topic)) != self._next[topic]:
                raise self._strangers(topic)

    async def _take(self, topic: str, group: Sequence[Stored]) -> None:
        records: list[Record] = []
        places: list[Appended] = []
        for stored in group:
            record = record_of(stored) if topic == EVENTS else moved(topic, record_of(stored), self._places)
            partition = partition_of(record.key, len(self._next[topic]))
            position = self._next[topic][partition]
            self._next[topic][partition] += 1
            if topic == EVENTS and (stored.partition, stored.position) in self._survey.places:
                self._places[stored.partition, stored.position] = partition, position
            if position >= self._ends[topic][partition]:
                records.append(record)
                places.append(Appended(partition, position + 1))
            elif position + 1 == self._ends[topic][partition]:
                await self._compare(topic, partition, position, record)
        if records and await self._log.append(topic, records) != places:
            raise self._strangers(topic)
        self.appended += len(records)
        self._done += len(group)
        self._progress("Imported", self._done, sum(self._survey.records.values()))

    async def _compare(self, topic: str, partition: int, position: int, record: Record) -> None:
        there = await self._log.read(topic, partition, position, limit=1)
        if (there.positions[:1], there.keys[:1], there.values[:1]) != ([position], [record.key], [record.value]):
            raise self._strangers(topic)

    def _strangers(self, topic: str) -> NotTransferred:
        return NotTransferred(
            f"{topic} holds records that this import did not bring: something else wrote to the log, or {self._name} is "
            "not what was imported before. Make the log anew, stop what writes to it, and import again."
        )
