"""What becomes one commit, and who is woken by it; on a database that only counts."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence

import pytest

from streamkit.log.protocol import CONTROL, EVENTS, Appended, Batch, Record
from streamkit.log.threads import Append, Read, Reader, Writer

WAIT_S = 10.0


class Counting:
    """A threads.Database whose commits wait for `go`."""

    def __init__(self) -> None:
        self.groups: list[int] = []
        self.go = threading.Event()
        self.go.set()
        self.versions = 0
        self.closed = False

    def commit(self, group: Sequence[Append]) -> list[list[Appended]]:
        self.groups.append(len(group))
        assert self.go.wait(WAIT_S)
        return [[Appended(0, 1)] for _ in group]

    def read(self, read: Read) -> Batch:
        return Batch([], [], [], read.position)

    def version(self) -> int:
        self.versions += 1
        return self.versions

    def close(self) -> None:
        self.closed = True


@pytest.fixture
async def database() -> Counting:
    return Counting()


@pytest.fixture
async def writer(database: Counting) -> AsyncIterator[Writer]:
    writer = Writer(database, asyncio.get_running_loop(), lambda _topics: None)
    writer.start()
    yield writer
    database.go.set()
    writer.end()
    await asyncio.to_thread(writer.join)


async def test_what_a_turn_of_the_loop_appends_is_one_commit(writer: Writer, database: Counting) -> None:
    await asyncio.gather(*(writer.append(EVENTS, [Record("1", b"x")]) for _ in range(50)))
    assert database.groups == [50]


async def test_what_comes_while_a_commit_runs_is_the_next_one(writer: Writer, database: Counting) -> None:
    database.go.clear()
    first = writer.append(EVENTS, [Record("1", b"x")])
    while not database.groups:
        await asyncio.sleep(0)
    rest = []
    for _ in range(20):
        rest.append(writer.append(EVENTS, [Record("1", b"x")]))
        await asyncio.sleep(0)
    assert database.groups == [1]
    database.go.set()
    await asyncio.gather(first, *rest)
    assert database.groups == [1, 20]


async def test_an_end_waits_for_what_was_appended_before_it(writer: Writer, database: Counting) -> None:
    append = writer.append(EVENTS, [Record("1", b"x")])
    writer.end()
    assert (await append) == [Appended(0, 1)]
    await asyncio.to_thread(writer.join)
    assert database.closed


async def test_a_commit_wakes_the_reads_of_its_topics_alone(database: Counting) -> None:
    loop = asyncio.get_running_loop()
    reader = Reader(database, loop)
    reader._waiting = [Read(CONTROL, 0, 0, 10, time.monotonic() + WAIT_S, loop.create_future())]
    reader.nudge({EVENTS})
    assert reader.queue.empty()
    reader.nudge({EVENTS, CONTROL})
    assert reader.queue.get_nowait() == "nudge"
