from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from projector.run import Projector
from projector.snapshots import Snapshot, folder_of, snapshots_of
from projector.wanted import Wanted
from schemas.control import SnapshotWanted
from schemas.event import encode_event, utc_now
from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import EVENTS, Record
from streamkit.log.shares import Sole
from tests.projector.events import USER, chat


@pytest.fixture
async def log() -> AsyncIterator[MemoryLog]:
    log = MemoryLog(partitions=2)
    yield log
    await log.close()


async def until(holds: Callable[[], bool]) -> None:
    """Returns when the condition holds; fails the test after a deadline."""
    async with asyncio.timeout(20.0):
        while not holds():
            await asyncio.sleep(0.01)


def wanted(snapshot: str, *, ago_s: float = 0.0) -> SnapshotWanted:
    return SnapshotWanted(at=utc_now() - timedelta(seconds=ago_s), by="me", snapshot=snapshot)


async def test_each_partition_that_is_owned_gets_one(log: MemoryLog, projector: Projector, tmp_path: Path) -> None:
    (appended,) = await log.append(EVENTS, [Record(key=str(USER), value=encode_event(chat("hello")))])
    await projector.reads.ask(USER, [], min_position=appended.position, wait_s=10.0)
    snapshots = Wanted(projector, tmp_path / "s", Sole())
    folder = folder_of(tmp_path / "s", log.log_id, 1)

    def written() -> list[Snapshot]:
        return [one for partition in (0, 1) for one in snapshots_of(folder, partition)]

    await snapshots.on_wanted(wanted("abc1"), is_past=False)
    await until(lambda: len(written()) == 2)
    assert {(one.partition, one.wanted) for one in written()} == {(0, "abc1"), (1, "abc1")}
    positions = {one.partition: one.position for one in written()}
    assert positions == projector.positions()
    await snapshots.on_wanted(wanted("abc2"), is_past=True)
    await until(lambda: len(written()) == 4)
    await snapshots.close()
    await snapshots.close()


@pytest.mark.parametrize(("snapshot", "ago_s"), [("../../etc/passwd", 0.0), ("", 0.0), ("abc", 3600.0)])
async def test_what_is_no_id_and_what_is_long_past_means_nothing(
    projector: Projector, tmp_path: Path, snapshot: str, ago_s: float
) -> None:
    snapshots = Wanted(projector, tmp_path / "s", Sole())
    await snapshots.on_wanted(wanted(snapshot, ago_s=ago_s), is_past=True)
    assert snapshots._tasks == set()
    assert not (tmp_path / "s").exists()


async def test_a_folder_that_cannot_be_written_harms_nothing(
    log: MemoryLog, projector: Projector, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "s").write_text("a file where the folder should be")
    snapshots = Wanted(projector, tmp_path / "s", Sole())
    await snapshots.on_wanted(wanted("abc"), is_past=False)
    await until(lambda: snapshots._tasks == set())
    assert [record.message for record in caplog.records].count("snapshot_failed") == 2
    (appended,) = await log.append(EVENTS, [Record(key=str(USER), value=encode_event(chat("hello")))])
    await projector.reads.ask(USER, [], min_position=appended.position, wait_s=10.0)
