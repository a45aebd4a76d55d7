"""What an export holds: a prefix of every topic, as they were at one moment."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import CONTROL, DEAD_LETTERS, EVENTS, VAULT, Batch, Record
from streamkit.log.sqlite import SqliteLog
from streamkit.transfer.exporting import export_log
from tests.streamkit.transfer.rows import Kept, fill, no_progress, rows


async def test_everything_goes_out_and_is_counted() -> None:
    log, sink = MemoryLog(4), Kept()
    await fill(log)
    told: list[tuple[int, int | None]] = []
    written = await export_log(log, sink, lambda what, done, total: told.append((done, total)))
    everything = await rows(log)
    assert sorted(sink.rows, key=repr) == sorted(everything, key=repr)
    assert written == {topic: sum(row.topic == topic for row in everything) for topic in written}
    assert told[-1] == (len(everything), len(everything))


async def test_an_empty_log_is_an_empty_export() -> None:
    sink = Kept()
    assert set((await export_log(MemoryLog(), sink, no_progress)).values()) == {0}
    assert sink.rows == []


class Growing(MemoryLog):
    """Each read finds that there is more by now."""

    async def read(self, topic: str, partition: int, position: int, *, limit: int = 1000, wait_s: float = 0.0) -> Batch:
        for grows in (EVENTS, DEAD_LETTERS, CONTROL):
            await self.append(grows, [Record("1", b'"later"')])
        return await super().read(topic, partition, position, limit=limit, wait_s=wait_s)


async def test_what_comes_while_it_is_written_is_left_out() -> None:
    log, sink = Growing(), Kept()
    await log.append(EVENTS, [Record("1", b'"before"')] * 3)
    await log.append(CONTROL, [Record("1", b'"before"')])
    await export_log(log, sink, no_progress)
    assert [(row.topic, row.value) for row in sink.rows] == [(CONTROL, b'"before"'), *[(EVENTS, b'"before"')] * 3]


class Registering(MemoryLog):
    """The first look at the events log sees an event whose broadcaster was registered after control was looked at."""

    looks = 0

    async def ends(self, topic: str) -> tuple[int, ...]:
        if topic == EVENTS:
            self.looks += 1
            if self.looks == 1:
                await self.append(CONTROL, [Record("user:1", b'"registered"')])
                await self.append(EVENTS, [Record("1", b'"event"')])
        return await super().ends(topic)


async def test_what_an_event_speaks_of_is_there_too() -> None:
    log, sink = Registering(), Kept()
    await export_log(log, sink, no_progress)
    assert [row.value for row in sink.rows] == [b'"registered"', b'"event"']
    assert log.looks == 2


async def test_a_token_that_is_renewed_meanwhile_is_there_in_its_newer_state(tmp_path: Path) -> None:
    class Renewing(SqliteLog):
        async def ends(self, topic: str) -> tuple[int, ...]:
            found = await super().ends(topic)
            if topic == EVENTS:  # the ends are taken; the vault is not read yet, and forgets the state that was there
                await self.append(VAULT, [Record("1:kick", b"newer")])
            return found

    log, sink = await Renewing.open(tmp_path / "log.sqlite"), Kept()
    try:
        await log.append(VAULT, [Record("1:kick", b"old"), Record("2:kick", b"other")])
        await export_log(log, sink, no_progress)
    finally:
        await log.close()
    assert {row.key: row.value for row in sink.rows} == {"1:kick": b"newer", "2:kick": b"other"}


async def test_an_error_of_the_disk_ends_it_and_no_thread_goes_on() -> None:
    class Full(Kept):
        writing = threading.Lock()

        def write(self, topic: str, partition: int, batch: Batch) -> None:
            with self.writing:
                raise OSError(28, "No space left on device")

    log, sink = MemoryLog(), Full()
    await fill(log)
    with pytest.raises(OSError, match="No space left"):
        await export_log(log, sink, no_progress)
    assert not sink.writing.locked()
