"""When an owner writes snapshots, and when it does not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from projector.keeping import KEPT, Keeper
from projector.run import Projector
from projector.snapshots import Snapshot, folder_of, snapshots_of
from schemas.event import encode_event
from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import EVENTS, Record
from tests.projector.events import USER, chat

EVERY_EVENTS, EVERY_S = 5, 60.0


class Site:
    """A projector of one partition, its keeper, and the clock and the tenure that the test holds."""

    def __init__(self, folder: Path) -> None:
        self.log = MemoryLog()
        self.folder = folder
        self.projector = Projector(self.log, folder / "data")
        self.now_s = 0.0
        self.held = True
        self.epoch = 3
        self.keeper = Keeper(
            self.projector,
            folder / "s",
            self,
            every_events=EVERY_EVENTS,
            every_s=EVERY_S,
            now_s=lambda: self.now_s,
        )

    def epoch_of(self, partition: int) -> int | None:
        return self.epoch

    def holds(self, partition: int) -> bool:
        return self.held

    def holds_strictly(self, partition: int) -> bool:
        return self.held

    async def fold(self, count: int) -> None:
        records = [Record(key=str(USER), value=encode_event(chat("hello"))) for _ in range(count)]
        appended = await self.log.append(EVENTS, records)
        await self.projector.reads.ask(USER, [], min_position=appended[-1].position, wait_s=10.0)

    def kept(self) -> list[Snapshot]:
        return snapshots_of(folder_of(self.folder / "s", self.log.log_id, 1), 0)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(tmp_path)
    await site.projector.start()
    await site.keeper.look()
    yield site
    await site.projector.close()
    await site.log.close()


async def test_after_so_many_events(site: Site) -> None:
    await site.fold(EVERY_EVENTS - 1)
    await site.keeper.look()
    assert site.kept() == []
    await site.fold(1)
    await site.keeper.look()
    assert [(one.position, one.epoch) for one in site.kept()] == [(EVERY_EVENTS, 3)]


async def test_after_so_long_and_only_when_something_moved(site: Site) -> None:
    site.now_s = EVERY_S
    await site.keeper.look()
    assert site.kept() == []
    await site.fold(1)
    await site.keeper.look()
    assert [one.position for one in site.kept()] == [1]
    site.now_s += 2 * EVERY_S
    await site.keeper.look()
    assert len(site.kept()) == 1


async def test_no_more_than_a_part_of_the_time_goes_into_them(site: Site) -> None:
    await site.fold(EVERY_EVENTS)
    await site.keeper.look()
    (last,) = site.keeper._last.values()
    last.took_s = 4.0
    await site.fold(EVERY_EVENTS)
    site.now_s = 79.0
    await site.keeper.look()
    assert len(site.kept()) == 1
    site.now_s = 80.0
    await site.keeper.look()
    assert len(site.kept()) == 2


async def test_few_are_kept(site: Site) -> None:
    for _ in range(KEPT + 2):
        await site.fold(EVERY_EVENTS)
        await site.keeper.look()
        site.now_s += 1000.0
    assert [one.position for one in site.kept()] == [EVERY_EVENTS * number for number in (5, 4, 3)]


async def test_one_whose_lease_is_not_proven_publishes_nothing(site: Site) -> None:
    await site.fold(EVERY_EVENTS)
    site.held = False
    await site.keeper.look()
    assert site.kept() == []
    site.held = True
    await site.keeper.look()
    assert len(site.kept()) == 1


async def test_one_that_loses_its_lease_while_it_copies_publishes_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def holds_until_the_copy_is_made(partition: int) -> bool:
        asked.append(partition)
        return len(asked) == 1

    monkeypatch.setattr(site, "holds_strictly", holds_until_the_copy_is_made)
    await site.fold(EVERY_EVENTS)
    await site.keeper.look()
    assert (len(asked), site.kept()) == (2, [])
    assert not list((site.folder / "s").rglob("*.part"))


async def test_a_folder_that_cannot_be_written_is_told_and_tried_again_later(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    (site.folder / "s").write_text("in the way")
    await site.fold(EVERY_EVENTS)
    await site.keeper.look()
    assert "snapshot_failed" in caplog.messages
    (site.folder / "s").unlink()
    site.now_s += EVERY_S
    await site.keeper.look()
    assert len(site.kept()) == 1
