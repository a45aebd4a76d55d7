"""Partitions taken and released as a group shares them out; the group is the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from projector.database import file_of, open_file
from projector.ownership import Ownership
from projector.restoring import AHEAD
from projector.run import Projector
from projector.snapshots import folder_of, write_snapshot
from schemas.event import encode_event
from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import EVENTS, Record, partition_of
from streamkit.log.shares import Share
from tests.projector.events import chat
from tests.projector.test_restoring import file_at

PARTITIONS = 3


class Site:
    """A projector that owns nothing, and the shares it is told of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = MemoryLog(PARTITIONS)
        self.projector = Projector(self.log, folder / "data", partitions=())
        self.known = asyncio.Event()
        self.taken = 0
        self.ownership = Ownership(self.projector, folder / "s", ready=self._ready, taken=self._took)

    async def _ready(self) -> None:
        await self.known.wait()

    def _took(self) -> None:
        self.taken += 1

    def share(self, epoch: int, *partitions: int) -> None:
        self.ownership.shared(Share(epoch, frozenset(partitions)))

    async def owns(self, *partitions: int) -> None:
        await until(lambda: self.projector.positions().keys() == set(partitions))


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20.0):
        while not holds():
            await asyncio.sleep(0.005)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(tmp_path)
    await site.projector.start()
    site.known.set()
    running = asyncio.create_task(site.ownership.run())
    yield site
    running.cancel()
    await asyncio.wait([running])
    await site.projector.close()
    await site.log.close()


async def test_shares_are_followed(site: Site) -> None:
    assert "group" in site.ownership.readiness()[0]
    site.share(1, 0, 1, 2)
    await site.owns(0, 1, 2)
    assert site.ownership.readiness() == []
    site.share(2, 1)
    await site.owns(1)
    site.share(3)
    await site.owns()
    assert site.ownership.readiness() == []
    site.share(4, 0, 1)
    await site.owns(0, 1)
    assert site.taken == 5


async def test_shares_that_change_faster_than_files_open_end_at_the_last(site: Site) -> None:
    for epoch in range(1, 20):
        site.share(epoch, *([0, 1] if epoch % 2 else [2]))
        await asyncio.sleep(0)
    await site.owns(0, 1)


async def test_a_partition_begins_from_a_snapshot_and_goes_on_from_the_log(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    user_id = next(user for user in range(1, 100) if partition_of(str(user), PARTITIONS) == 0)
    records = [Record(key=str(user_id), value=encode_event(chat("hello")))]
    appended = await site.log.append(EVENTS, records)
    site.share(1, 0)
    await site.owns(0)
    await site.projector.reads.ask(user_id, [], min_position=appended[-1].position, wait_s=10.0)
    folder = folder_of(site.folder / "s", site.log.log_id, 1)
    await site.projector.served()[0].beside(lambda session: write_snapshot(session, folder, epoch=1))
    site.share(2)
    await site.owns()
    file_of(site.folder / "data", 1, 0).unlink()
    (appended_later,) = await site.log.append(EVENTS, records)
    site.share(3, 0)
    await site.owns(0)
    await site.projector.reads.ask(user_id, [], min_position=appended_later.position, wait_s=10.0)
    assert "snapshot_restored" in caplog.messages


async def test_what_was_taken_answers_once_it_has_what_the_log_had(site: Site) -> None:
    """Whoever owned it before may have answered from the log's end: an older answer would go back."""
    user_id = next(user for user in range(1, 100) if partition_of(str(user), PARTITIONS) == 0)
    record = Record(key=str(user_id), value=encode_event(chat("hello")))
    appended = await site.log.append(EVENTS, [record] * 2_500)
    taken_at: list[dict[int, int]] = []
    site.projector.on_change(lambda change: taken_at.append(site.projector.positions()))
    site.share(1, 0)
    await site.owns(0)
    assert taken_at[0] == {0: appended[-1].position}


async def test_what_was_taken_answers_all_the_same_when_it_cannot_get_there(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projector.ownership.CATCH_UP_S", 0.01)
    await site.log.append(EVENTS, [Record(key="1", value=encode_event(chat("hello")))] * 20_000)
    site.share(1, 0, 1, 2)
    await site.owns(0, 1, 2)
    assert site.ownership.readiness() == []


async def test_a_snapshot_of_a_longer_log_than_there_is_is_not_gone_on_with(site: Site) -> None:
    """The log lost its tail: what the snapshot has is not what the log has."""
    path = file_at(AHEAD * 2, site.folder / "ahead.duckdb", site.log.log_id)
    session = open_file(path, log_id=site.log.log_id, partition=0)
    write_snapshot(session.cursor(), folder_of(site.folder / "s", site.log.log_id, 1))
    session.close()
    site.share(1, 0)
    await site.owns(0)
    assert site.projector.positions() == {0: 0}


async def test_what_cannot_be_restored_for_want_of_room_is_tried_again(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("projector.ownership.AGAIN_S", 0.01)
    (site.folder / "data").mkdir(exist_ok=True)
    (site.folder / "data" / "generations").write_text("in the way")
    site.share(1, 0)
    await until(lambda: "partition_not_taken" in caplog.messages)
    assert "restored or opened" in site.ownership.readiness()[0]
    (site.folder / "data" / "generations").unlink()
    await site.owns(0)


async def test_nothing_is_taken_before_it_is_known_which_generation_is_live(tmp_path: Path) -> None:
    site = Site(tmp_path)
    running = asyncio.create_task(site.ownership.run())
    site.share(1, 0)
    await asyncio.sleep(0)
    assert site.projector.positions() == {}
    site.known.set()
    await site.owns(0)
    running.cancel()
    await asyncio.wait([running])
    await site.projector.close()
    await site.log.close()
