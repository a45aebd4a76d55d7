from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb
import pytest

from projector.database import Database
from projector.digest import digest
from projector.fold import fold_staged
from projector.partition import PartitionFold
from schemas.dead_letter import decode_dead_letter
from schemas.errors import LogUnavailable
from schemas.event import Event, encode_event
from schemas.kinds import KicksGifted
from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import DEAD_LETTERS, EVENTS, Batch, Record
from tests.harness import fold
from tests.projector.events import USER, event
from tests.strategies import seeded_log

DEADLINE_S = 20.0


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projector.partition.LIVE_LIMIT", 5)
    monkeypatch.setattr("projector.partition.CATCH_UP_LIMIT", 20)
    monkeypatch.setattr("projector.fold.SETTLED_EVERY", 50)


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> mock.Mock:
    """Called for each batch that was parsed ahead."""
    spied = mock.Mock(wraps=fold_staged)
    monkeypatch.setattr("projector.partition.fold_staged", spied)
    return spied


async def put(log: MemoryLog, events: list[Event | bytes]) -> int:
    values = [one if isinstance(one, bytes) else encode_event(one) for one in events]
    await log.append(EVENTS, [Record(key=str(USER), value=value) for value in values])
    return (await log.ends(EVENTS))[0]


@asynccontextmanager
async def running(
    log: MemoryLog, path: Path, moved: Callable[[Any], None] | None = None
) -> AsyncIterator[PartitionFold]:
    one = PartitionFold(log, Database(path, log_id=log.log_id, partition=0), moved=moved)
    await one.open()
    one.start()
    try:
        yield one
    finally:
        await one.close()


async def reached(one: PartitionFold, end: int) -> str:
    """What the file has when it stands at `end`."""
    async with asyncio.timeout(DEADLINE_S):
        await one.reach(end)
    return await one.file.write(lambda session: digest(session).text)


def tables(events: list[Event], path: Path) -> str:
    with fold(events, path=path) as folded:
        return digest(folded.session).text


async def test_what_is_parsed_ahead_gives_the_same_tables(log: MemoryLog, tmp_path: Path, ahead: mock.Mock) -> None:
    """Also when it goes on after all was folded, and after a start."""
    events = seeded_log(2, 300)
    end = await put(log, [*events[:120]])
    async with running(log, tmp_path / "a.duckdb") as one:
        await reached(one, end)
        await reached(one, await put(log, [*events[120:200]]))
    end = await put(log, [*events[200:]])
    async with running(log, tmp_path / "a.duckdb") as one:
        assert await reached(one, end) == tables(events, tmp_path / "b.duckdb")
    assert ahead.call_count >= 8


async def test_what_cannot_be_folded_is_parked_and_what_was_parsed_ahead_counts(
    log: MemoryLog, tmp_path: Path, ahead: mock.Mock
) -> None:
    """Of three bad records one is in a batch that is not parsed ahead."""
    gifts: list[Event | bytes] = [event(KicksGifted(amount=1)) for _ in range(60)]
    lone = encode_event(event(KicksGifted(amount=1, message="X"))).replace(b'"X"', b'"\\ud800"')
    for at, bad in ((2, b"nope"), (20, lone), (40, b"[]")):
        gifts[at] = bad
    end = await put(log, gifts)
    commits: list[Any] = []
    async with running(log, tmp_path / "a.duckdb", commits.append) as one:
        await reached(one, end)
        counted = await one.file.write(lambda session: session.execute("SELECT count(*) FROM seen").fetchall())
    assert counted[0][0] == 57
    assert [commit.position for commit in commits] == sorted({commit.position for commit in commits})
    letters = [decode_dead_letter(value) for value in (await log.read(DEAD_LETTERS, 0, 0)).values]
    assert [letter.position for letter in letters] == [2, 20, 40]
    assert ahead.called


async def test_an_error_of_the_environment_costs_nothing_that_was_parsed_ahead(
    log: MemoryLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [duckdb.IOException("No space left"), duckdb.FatalException("the database has been invalidated")]

    def fails(*args: Any) -> Any:
        if failures:
            raise failures.pop()
        return fold_staged(*args)

    monkeypatch.setattr("projector.partition.fold_staged", fails)
    events = seeded_log(3, 100)
    end = await put(log, [*events])
    async with running(log, tmp_path / "a.duckdb") as one:
        assert await reached(one, end) == tables(events, tmp_path / "b.duckdb")
    assert not failures


class FlakyLog(MemoryLog):
    """Away at every third reading."""

    reads = 0

    async def read(self, topic: str, partition: int, position: int, *, limit: int = 1000, wait_s: float = 0.0) -> Batch:
        self.reads += 1
        if self.reads % 3 == 0:
            raise LogUnavailable("The log is away for a moment.")
        return await super().read(topic, partition, position, limit=limit, wait_s=wait_s)


async def test_a_log_that_is_away_when_it_is_read_ahead_is_asked_again(tmp_path: Path) -> None:
    log, events = FlakyLog(), seeded_log(4, 60)
    end = await put(log, [*events])
    async with running(log, tmp_path / "a.duckdb") as one:
        assert await reached(one, end) == tables(events, tmp_path / "b.duckdb")
    await log.close()


async def test_it_can_be_stopped_at_any_batch_and_goes_on(log: MemoryLog, tmp_path: Path, ahead: mock.Mock) -> None:
    events = seeded_log(5, 200)
    end = await put(log, [*events])
    async with running(log, tmp_path / "a.duckdb") as one:
        for position in (1, 30, 90):
            async with asyncio.timeout(DEADLINE_S):
                await one.reach(position)
            await one.stop()
            one.start()
        assert await reached(one, end) == tables(events, tmp_path / "b.duckdb")
    assert ahead.called
