"""What an import leaves behind: the same log on other partitions, once, whatever interrupts it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest

from schemas.control import DeadLettersDropped, DeadLettersRedriven, decode_control
from schemas.dead_letter import decode_dead_letter, decode_head, letter_key
from schemas.errors import LogUnavailable, RecordTooLarge, Stop
from schemas.event import encode_event
from streamkit.log.events import record_of as record_of_event
from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import (
    CONTROL,
    DEAD_LETTERS,
    EVENTS,
    MAX_RECORD_BYTES,
    TOPICS,
    Appended,
    EventLog,
    Record,
    partition_of,
)
from streamkit.transfer.exporting import export_log
from streamkit.transfer.importing import Imported, import_log, record_of
from streamkit.transfer.portable import NotTransferred, Stored
from streamkit.transfer.unfinished import refuse_unfinished, taken
from tests.strategies import seeded_log
from tests.streamkit.transfer.rows import LOG_CREATED, Given, Kept, fill, letter, letter_record, no_progress, rows


async def exported(partitions: int = 1) -> list[Stored]:
    """The rows of a log with records of every sort."""
    log, sink = MemoryLog(partitions), Kept()
    await fill(log)
    await export_log(log, sink, no_progress)
    return sink.rows


async def bring(log: EventLog, stored: Sequence[Stored], data_dir: Path) -> Imported:
    with taken(data_dir) as note:
        return await import_log(log, Given(stored), "a.ndjson", note, no_progress)


def by_key(stored: Sequence[Stored], topic: str) -> dict[str, list[bytes]]:
    """The values of each key, in their order."""
    found = defaultdict(list)
    for row in stored:
        if row.topic == topic:
            found[row.key].append(row.value)
    return found


async def test_into_a_log_of_the_same_partitions_all_is_the_same(tmp_path: Path) -> None:
    stored, log = await exported(), MemoryLog()
    done = await bring(log, stored, tmp_path)
    assert sorted(await rows(log), key=repr) == sorted(stored, key=repr)
    assert done.records == {topic: sum(row.topic == topic for row in stored) for topic in TOPICS}
    assert done.appended == len(stored)
    refuse_unfinished(tmp_path, log.log_id)


@pytest.mark.parametrize(("source", "target"), [(1, 4), (4, 1), (4, 3)])
async def test_into_other_partitions_by_key_in_order(tmp_path: Path, source: int, target: int) -> None:
    stored, log = await exported(source), MemoryLog(target)
    await bring(log, stored, tmp_path)
    there = await rows(log)
    assert by_key(there, EVENTS) == by_key(stored, EVENTS)
    assert all(row.partition == partition_of(row.key, target) for row in there if row.topic == EVENTS)


@pytest.mark.parametrize(("source", "target"), [(1, 4), (4, 1)])
async def test_places_on_the_events_log_are_named_anew(tmp_path: Path, source: int, target: int) -> None:
    stored, log = await exported(source), MemoryLog(target)
    await bring(log, stored, tmp_path)
    assert await named_events(log) == await named_events_of(stored)
    letters = [row for row in await rows(log) if row.topic == DEAD_LETTERS][:-1]
    closed = {key for row in await rows(log) if row.topic == CONTROL for key in _closed(row.value)}
    failed = [row for row in letters if decode_head(row.value).reason == "fold_failed"]
    assert [letter_key(decode_head(row.value)) in closed for row in failed] == [True, True, True] + [False] * (
        len(failed) - 3
    )
    for row in failed:
        one = decode_dead_letter(row.value)
        assert row.key == f"{one.partition}:{one.position}"
        assert one.event_id in ("kick:7", row.key)
        assert one.body == b"\xff{"


async def named_events(log: EventLog) -> list[bytes]:
    return await named_events_of(await rows(log))


async def named_events_of(stored: Sequence[Stored]) -> list[bytes]:
    """The events that dead letters name by their places."""
    events = {(row.partition, row.position): row.value for row in stored if row.topic == EVENTS}
    heads = [decode_head(row.value) for row in stored if row.topic == DEAD_LETTERS and row.key != "x"]
    return [events[head.partition or 0, head.position or 0] for head in heads if head.reason == "fold_failed"]


def _closed(value: bytes) -> tuple[str, ...]:
    try:
        event = decode_control(value)
    except ValueError:
        return ()
    return event.letters if isinstance(event, DeadLettersRedriven | DeadLettersDropped) else ()


async def test_a_letter_of_an_event_that_is_not_there_stays_as_it_is(tmp_path: Path) -> None:
    lost = letter_record(letter("fold_failed", "kick:1", (3, 99)))
    log = MemoryLog()
    await bring(log, [Stored(DEAD_LETTERS, 0, 5, lost.key, lost.value)], tmp_path)
    assert [row.value for row in await rows(log)] == [lost.value]


async def test_the_new_log_keeps_its_own_name(tmp_path: Path) -> None:
    log = MemoryLog()
    await log.append(CONTROL, [LOG_CREATED])  # as Kafka's begin
    stored = [Stored(CONTROL, 0, 0, "log", LOG_CREATED.value), Stored(CONTROL, 0, 1, "user:1", b'"first"')]
    done = await bring(log, stored, tmp_path)
    assert [row.value for row in await rows(log)] == [LOG_CREATED.value, b'"first"']
    assert (done.records[CONTROL], done.appended) == (1, 1)


def test_an_events_headers_are_what_ingest_gives_it() -> None:
    for event in seeded_log(3, 40):
        assert record_of(Stored(EVENTS, 0, 0, str(event.user_id), encode_event(event))) == record_of_event(event)


@pytest.mark.parametrize("topic", TOPICS)
async def test_a_log_that_holds_something_is_refused_and_left_alone(tmp_path: Path, topic: str) -> None:
    log = MemoryLog()
    await log.append(topic, [Record("1", b"mine")])
    with pytest.raises(NotTransferred, match=r"holds records already \(streamkit"):
        await bring(log, await exported(), tmp_path)
    assert [row.value for row in await rows(log)] == [b"mine"]
    refuse_unfinished(tmp_path, log.log_id)


class Breaking(MemoryLog):
    """Takes so many records more; the append that has others too fails, when the first lanes are through."""

    def __init__(self, partitions: int) -> None:
        super().__init__(partitions)
        self.takes: int | None = None

    async def append(self, topic: str, records: Sequence[Record]) -> list[Appended]:
        if self.takes is None or len(records) <= self.takes:
            if self.takes is not None:
                self.takes -= len(records)
            return await super().append(topic, records)
        lanes = sorted(records, key=lambda record: partition_of(record.key, self.partitions(topic)))
        await super().append(topic, lanes[: self.takes])
        self.takes = 0
        raise LogUnavailable("away")


@pytest.mark.parametrize("step", [1, 5, 11])
async def test_an_import_that_is_interrupted_again_and_again_brings_each_record_once(tmp_path: Path, step: int) -> None:
    stored, log, whole = await exported(4), Breaking(3), MemoryLog(3)
    await bring(whole, stored, tmp_path)
    appended, runs = 0, 0
    while True:
        log.takes = step
        before = len(await rows(log))
        try:
            done = await bring(log, stored, tmp_path)
        except LogUnavailable:
            runs += 1
            assert len(await rows(log)) == before + step
            with pytest.raises(Stop, match="`streamkit log import --from a"):
                refuse_unfinished(tmp_path, log.log_id)
            continue
        appended = done.appended
        break
    assert await rows(log) == await rows(whole)
    assert (runs, appended - 1) == divmod(len(stored) - 1, step)
    refuse_unfinished(tmp_path, log.log_id)


async def test_once_it_is_whole_the_log_is_no_longer_empty(tmp_path: Path) -> None:
    stored, log = await exported(), MemoryLog()
    await bring(log, stored, tmp_path)
    with pytest.raises(NotTransferred, match="an import takes an empty one"):
        await bring(log, stored, tmp_path)


async def half(log: Breaking, stored: Sequence[Stored], data_dir: Path) -> None:
    log.takes = len(stored) // 2
    with pytest.raises(LogUnavailable):
        await bring(log, stored, data_dir)
    log.takes = None


async def test_another_source_does_not_go_on_with_it(tmp_path: Path) -> None:
    stored, log = await exported(), Breaking(1)
    await half(log, stored, tmp_path)
    there = await rows(log)
    with pytest.raises(NotTransferred, match="not what was imported before"):
        await bring(log, [row for row in stored if row.position != 3], tmp_path)
    assert await rows(log) == there


async def test_what_others_wrote_in_between_is_noticed(tmp_path: Path) -> None:
    stored, log = await exported(), Breaking(1)
    await half(log, stored, tmp_path)
    await log.append(EVENTS, [Record("1", b"of another")])
    with pytest.raises(NotTransferred, match=r"streamkit\.events holds records that this import did not bring"):
        await bring(log, stored, tmp_path)


async def test_what_others_write_meanwhile_is_noticed(tmp_path: Path) -> None:
    class Shared(MemoryLog):
        async def append(self, topic: str, records: Sequence[Record]) -> list[Appended]:
            await super().append(CONTROL, [Record("1", b"of another")])
            return await super().append(topic, records)

    with pytest.raises(NotTransferred, match=r"streamkit\.control holds records that this import did not bring"):
        await bring(Shared(), await exported(), tmp_path)


async def test_the_note_of_another_log_is_none_of_this_ones(tmp_path: Path) -> None:
    stored, old, new = await exported(), Breaking(1), MemoryLog()
    await half(old, stored, tmp_path)
    refuse_unfinished(tmp_path, new.log_id)
    assert (await bring(new, stored, tmp_path)).appended == len(stored)


def test_one_import_at_a_time(tmp_path: Path) -> None:
    with taken(tmp_path), pytest.raises(NotTransferred, match="Another import"), taken(tmp_path):
        pass


async def test_a_source_with_a_mistake_brings_nothing(tmp_path: Path) -> None:
    good = Stored(EVENTS, 0, 7, "1", b"1")
    for bad, error, said in (
        (Stored("streamkit.other", 0, 0, "1", b"1"), NotTransferred, "no topic 'streamkit.other'"),
        (good, NotTransferred, "After position 7 of streamkit.events/0 comes 7"),
        (Stored(EVENTS, 0, 3, "1", b"1"), NotTransferred, "After position 7 of streamkit.events/0 comes 3"),
        (Stored(EVENTS, 1, 0, "1", b"1" * (MAX_RECORD_BYTES + 1)), RecordTooLarge, "longer than"),
    ):
        log = MemoryLog()
        with pytest.raises(error, match=said):
            await bring(log, [*[Stored(CONTROL, 0, n, "1", b"1") for n in range(9)], good, bad], tmp_path)
        assert await rows(log) == []
        refuse_unfinished(tmp_path, log.log_id)
