from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest

from projector.partition import PartitionFold
from projector.poison import PartitionStopped
from projector.run import Projector
from schemas.dead_letter import decode_dead_letter
from schemas.errors import LogUnavailable, Retry
from schemas.event import Event, encode_event
from schemas.kinds import ChatMessage, KicksGifted
from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import DEAD_LETTERS, EVENTS, Batch, Record
from streamkit.reads import Change, Question
from tests.projector.events import ANN, USER, event
from tests.unreadable import UNREADABLE

SUMMARY = Question(name="kicks_summary")
DEADLINE_S = 10.0


def gift(amount: int, **more: Any) -> Event:
    return event(KicksGifted(amount=amount), ANN, **more)


async def put(log: MemoryLog, events: Sequence[Event | bytes], user_id: int = USER) -> int:
    """Append; the position right after the last."""
    values = [one if isinstance(one, bytes) else encode_event(one) for one in events]
    appended = await log.append(EVENTS, [Record(key=str(user_id), value=value) for value in values])
    return appended[-1].position


async def _ended(projector: Projector) -> None:
    task = projector._folds[0]._task
    assert task is not None
    await asyncio.wait([task])


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not holds():
            await asyncio.sleep(0.005)


async def kicks(projector: Projector, position: int, user_id: int = USER) -> int:
    answer = await projector.reads.ask(user_id, [SUMMARY], min_position=position, wait_s=DEADLINE_S)
    assert answer.position >= position
    total: int = answer.rows[0][0].total_kicks
    return total


async def test_what_is_appended_becomes_visible(log: MemoryLog, projector: Projector) -> None:
    position = await put(log, [gift(5), gift(7)])
    assert await kicks(projector, position) == 12
    lag = await projector.lag()
    assert (lag.partitions[0].position, lag.partitions[0].end, lag.lag_events) == (2, 2, 0)


async def test_each_commit_is_announced_with_the_broadcasters_it_touched(log: MemoryLog, projector: Projector) -> None:
    changes: list[Change] = []
    projector.reads.on_change(changes.append)
    position = await put(log, [gift(5), gift(7, user_id=8)])
    await kicks(projector, position)
    assert changes[-1].position == 2
    assert frozenset().union(*(change.user_ids or () for change in changes)) == {7, 8}


async def test_a_position_that_does_not_come_is_retry(projector: Projector) -> None:
    with pytest.raises(Retry):
        await projector.reads.ask(USER, [SUMMARY], min_position=1, wait_s=0.0)
    with pytest.raises(Retry):
        await projector.reads.ask(USER, [SUMMARY], min_position=1, wait_s=0.01)


async def test_a_partition_that_is_not_owned_is_retry(tmp_path: Path) -> None:
    log = MemoryLog(partitions=2)
    projector = Projector(log, tmp_path, partitions=[0])
    await projector.start()
    try:
        elsewhere = next(user for user in range(100) if projector.reads.partition_of(user) == 1)
        with pytest.raises(Retry):
            await projector.reads.ask(elsewhere, [SUMMARY])
    finally:
        await projector.close()
        await log.close()


async def test_a_restart_goes_on_where_it_stood(log: MemoryLog, tmp_path: Path) -> None:
    for amount, total in ((5, 5), (7, 12)):
        projector = Projector(log, tmp_path)
        await projector.start()
        position = await put(log, [gift(amount)])
        assert await kicks(projector, position) == total
        await projector.close()


async def test_a_poison_record_is_parked_and_the_others_count(log: MemoryLog, projector: Projector) -> None:
    surrogate = encode_event(gift(100)).replace(b'"Ann"', b'"\\ud800"')
    no_amount = encode_event(gift(100)).replace(b'"amount":100', b'"amount":null')
    bad = [
        b"not json",
        b"[]",
        b"\xff\xfe",
        surrogate,
        no_amount,
        encode_event(gift(1)).replace(b"kicks.gifted", b"kicks.lost"),
    ]
    good = [gift(amount) for amount in (1, 2, 4, 8, 16, 32, 64)]
    mixed: list[Event | bytes] = [good[0]]
    for record, after in zip(bad, good[1:], strict=True):
        mixed += [record, after]
    position = await put(log, mixed)
    assert await kicks(projector, position) == 127

    letters = [decode_dead_letter(value) for value in (await log.read(DEAD_LETTERS, 0, 0)).values]
    assert [letter.body for letter in letters] == bad
    assert [(letter.reason, letter.partition, letter.position) for letter in letters] == [
        ("fold_failed", 0, at) for at in (1, 3, 5, 7, 9, 11)
    ]
    assert projector.stopped is None


@pytest.mark.parametrize("bad", UNREADABLE, ids=range(len(UNREADABLE)))
async def test_a_record_that_is_none_at_the_head_of_a_batch_is_parked_too(
    bad: bytes, log: MemoryLog, projector: Projector
) -> None:
    position = await put(log, [bad, gift(5)])
    assert await kicks(projector, position) == 5
    assert len((await log.read(DEAD_LETTERS, 0, 0)).values) == 1


async def test_ten_bad_records_of_one_broadcaster_do_not_stop_the_partition(
    log: MemoryLog, projector: Projector
) -> None:
    position = await put(log, [*[b"{}"] * 12, gift(5)])
    assert await kicks(projector, position) == 5
    assert projector.stopped is None
    assert len((await log.read(DEAD_LETTERS, 0, 0)).values) == 12


async def test_ten_bad_records_of_several_broadcasters_stop_the_partition(log: MemoryLog, tmp_path: Path) -> None:
    await put(log, [gift(5)])
    for user_id in (1, 2):
        await put(log, [b"{}"] * 5, user_id)
    await put(log, [gift(7)])
    projector = Projector(log, tmp_path)
    await projector.start()
    try:
        async with asyncio.timeout(DEADLINE_S):
            await _ended(projector)
        assert projector.stopped is not None
        assert "Partition 0 stopped before position 10" in projector.stopped
        assert await kicks(projector, 1) == 5
    finally:
        await projector.close()


@pytest.mark.parametrize(
    "error", [duckdb.IOException("No space left"), duckdb.TransactionException("Failed to commit: No space left")]
)
async def test_what_is_no_fault_of_a_record_is_waited_for_and_nothing_is_parked(
    error: duckdb.Error, log: MemoryLog, projector: Projector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("projector.partition.fold", full)
        position = await put(log, [gift(5), gift(7)])
        await until(lambda: projector.stopped is not None)
        assert projector.stopped is not None
        assert "cannot be folded at the moment" in projector.stopped
    assert await kicks(projector, position) == 12
    await until(lambda: projector.stopped is None)
    assert (await log.ends(DEAD_LETTERS)) == (0,)


async def test_a_file_that_is_unusable_is_opened_again_however_often_that_fails(
    log: MemoryLog, projector: Projector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def invalidated(*_: object, **__: object) -> None:
        monkeypatch.undo()
        monkeypatch.setattr("projector.database.open_file", cannot_open)
        raise duckdb.FatalException("the database has been invalidated")

    failures = 0

    def cannot_open(*_: object, **__: object) -> None:
        nonlocal failures
        failures += 1
        if failures == 2:
            monkeypatch.undo()
        raise duckdb.IOException("No space left")

    monkeypatch.setattr("projector.partition.fold", invalidated)
    position = await put(log, [gift(5), gift(7)])
    assert await kicks(projector, position) == 12
    assert failures == 2


async def test_an_unforeseen_error_stops_the_partition_aloud_and_skips_nothing(
    log: MemoryLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def defect(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a defect of ours")

    projector = Projector(log, tmp_path)
    await projector.start()
    position = await put(log, [gift(5)])
    assert await kicks(projector, position) == 5
    with monkeypatch.context() as patch:
        patch.setattr("projector.partition.fold", defect)
        last = await put(log, [gift(7)])
        async with asyncio.timeout(DEADLINE_S):
            await _ended(projector)
    assert projector.stopped == "Partition 0 stopped: unexpected ZeroDivisionError; see the log."
    stops = [record for record in caplog.records if record.message == "partition_stopped"]
    assert [record.exc_info is not None for record in stops] == [True]
    assert await kicks(projector, position) == 5  # what is folded is served on
    assert (projector.positions(), (await projector.lag()).lag_events) == ({0: position}, 1)
    assert (await log.read(DEAD_LETTERS, 0, 0)).values == []
    await projector.close()

    projector = Projector(log, tmp_path)
    await projector.start()
    try:
        assert await kicks(projector, last) == 12
    finally:
        await projector.close()


class FlakyLog(MemoryLog):
    """Unavailable for the first reads."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures

    async def read(self, topic: str, partition: int, position: int, *, limit: int = 1000, wait_s: float = 0.0) -> Batch:
        if self.failures:
            self.failures -= 1
            raise LogUnavailable("The log is away for a moment.")
        return await super().read(topic, partition, position, limit=limit, wait_s=wait_s)


async def test_an_unavailable_log_is_asked_again(tmp_path: Path) -> None:
    log = FlakyLog(failures=2)
    projector = Projector(log, tmp_path)
    await projector.start()
    try:
        position = await put(log, [gift(5)])
        assert await kicks(projector, position) == 5
    finally:
        await projector.close()
        await log.close()


async def test_a_file_of_another_log_is_folded_anew(tmp_path: Path) -> None:
    for amount in (5, 7):
        log = MemoryLog()
        projector = Projector(log, tmp_path)
        await projector.start()
        position = await put(log, [gift(amount), event(ChatMessage(message_id="m", message="hi"))])
        assert await kicks(projector, position) == amount
        await projector.close()
        await log.close()


@pytest.mark.parametrize("kept", [0, 1, 2])
async def test_a_log_that_lost_its_tail_is_folded_anew(tmp_path: Path, kept: int) -> None:
    """A log cut short, or put back from an older copy, gives the same positions to other events."""
    before, after = MemoryLog(), MemoryLog()
    after._log_id = before._log_id
    first = [gift(1), gift(10), gift(100)]
    projector = Projector(before, tmp_path)
    await put(before, first)
    await projector.start()
    assert await kicks(projector, 3) == 111
    await projector.close()
    if kept:  # it has grown past the file's position by now; else it is shorter
        await put(after, [*first[:kept], gift(1_000), gift(2_000), gift(4_000)])
    projector = Projector(after, tmp_path)
    await projector.start()
    end = (await after.ends(EVENTS))[0]
    assert await kicks(projector, end) == (7_000 + sum((1, 10)[:kept]) if kept else 0)
    await projector.close()
    for log in (before, after):
        await log.close()


async def test_closing_releases_those_who_wait(projector: Projector) -> None:
    asking = asyncio.create_task(projector.reads.ask(USER, [SUMMARY], min_position=9, wait_s=DEADLINE_S))
    await asyncio.sleep(0)
    await projector.close()
    with pytest.raises(Retry):
        await asking


async def _beside(log: MemoryLog, projector: Projector) -> PartitionFold:
    """A fold of partition 0 into a file of generation 2, from the log's beginning."""
    other = PartitionFold(log, projector.new_file(2, 0), moved=None, parks=False)
    await other.open()
    return other


async def test_a_partition_answers_from_another_file_once_that_has_its_position(
    log: MemoryLog, projector: Projector
) -> None:
    position = await put(log, [gift(5)])
    assert await kicks(projector, position) == 5
    changes: list[Change] = []
    other = await _beside(log, projector)
    projector.on_change(changes.append)
    switching = asyncio.create_task(projector.switch(0, other))
    assert await kicks(projector, position) == 5  # the old file answers while the new one is behind
    assert not switching.done()
    other.start()
    await switching
    assert changes == [Change(partition=0, position=position, user_ids=None)]
    assert await kicks(projector, await put(log, [gift(7)])) == 12
    assert projector._folds[0].file.path.parent.name == "2"


async def test_a_file_that_cannot_get_there_is_not_switched_to(log: MemoryLog, projector: Projector) -> None:
    position = await put(log, [gift(5)])
    assert await kicks(projector, position) == 5
    other = await _beside(log, projector)
    other.stopped = "a defect"
    with pytest.raises(PartitionStopped, match="a defect"):
        await projector.switch(0, other)
    await other.close()
    assert await kicks(projector, await put(log, [gift(7)])) == 12


async def test_partitions_are_taken_and_released(log: MemoryLog, tmp_path: Path) -> None:
    projector = Projector(log, tmp_path, partitions=())
    await projector.start()
    position = await put(log, [gift(5)])
    for _ in range(2):
        await projector.take(0)
        assert await kicks(projector, position) == 5
        waiting = asyncio.create_task(kicks(projector, position + 1))
        await asyncio.sleep(0)
        await projector.release(0)
        with pytest.raises(Retry):
            await waiting
        assert projector.positions() == {}
    await projector.close()


async def test_a_fold_that_somebody_else_cancelled_stops_aloud(projector: Projector) -> None:
    task = projector._folds[0]._task
    assert task is not None
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert projector.stopped is not None
    assert "was cancelled" in projector.stopped
