from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from unittest import mock

import pytest
from msgspec import structs

from projector.database import file_of, open_file
from projector.run import Projector
from projector.shelf import Shelf
from projector.snapshots import folder_of, write_snapshot
from schemas.errors import Retry
from schemas.kinds import KicksGifted
from schemas.read_models import READ_MODELS
from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import EVENTS
from streamkit.reads import Change, Question
from tests.projector.events import USER, event
from tests.projector.generations import (
    DEADLINE_S,
    OLDER,
    answered_from,
    contents,
    dropped,
    generation,
    made,
    promoted,
    put,
    running,
    started,
    tell,
)

SUMMARY = Question(name="kicks_summary")


async def kicks(projector: Projector, position: int = 0) -> int:
    answer = await projector.reads.ask(USER, [SUMMARY], min_position=position, wait_s=DEADLINE_S)
    total: int = answer.rows[0][0].total_kicks
    return total


async def test_a_promotion_moves_to_the_file_that_lies_there_and_catches_up(log: MemoryLog, tmp_path: Path) -> None:
    await put(log, [event(KicksGifted(amount=1)) for _ in range(5)])
    async with running(log, tmp_path) as (projector, succession):
        assert (await kicks(projector, 5), generation(projector)) == (5, 1)
        await made(log, tmp_path, 2, until=3)
        changes: list[Change] = []
        projector.on_change(changes.append)
        await tell(log, started(2), promoted(2))
        await answered_from(projector, 2)
        assert changes[-1] == Change(partition=0, position=5, user_ids=None)
        position = await put(log, [event(KicksGifted(amount=10))])
        assert await kicks(projector, position) == 15
        assert succession.readiness() == []
    assert contents(file_of(tmp_path, 1, 0), log.log_id)[0] == 5  # the old one stays as it was


async def test_without_a_file_the_generation_is_folded_from_the_log(log: MemoryLog, tmp_path: Path) -> None:
    await put(log, [event(KicksGifted(amount=1)) for _ in range(5)])
    async with running(log, tmp_path) as (projector, _):
        await tell(log, started(2), promoted(2))
        await answered_from(projector, 2)
        assert await kicks(projector, 5) == 5
    one, two = (contents(file_of(tmp_path, number, 0), log.log_id) for number in (1, 2))
    assert one == two


async def test_without_a_file_a_snapshot_is_taken(log: MemoryLog, tmp_path: Path) -> None:
    """Also one that this build could not make."""
    await put(log, [event(KicksGifted(amount=1)) for _ in range(5)])
    elsewhere = await made(log, tmp_path / "elsewhere", 2, models=OLDER)
    session = open_file(elsewhere, log_id=log.log_id, partition=0)
    write_snapshot(session, folder_of(tmp_path / "snapshots", log.log_id, 2))
    session.close()
    async with running(log, tmp_path) as (projector, _):
        await tell(log, started(2, OLDER), promoted(2))
        await answered_from(projector, 2)
        assert await kicks(projector, 5) == 5
        assert not projector.served()[0].is_current


async def test_a_generation_that_cannot_be_made_here_is_waited_for(log: MemoryLog, tmp_path: Path) -> None:
    async with running(log, tmp_path) as (projector, succession):
        await tell(log, started(2, OLDER), promoted(2))
        async with asyncio.timeout(DEADLINE_S):
            while not succession.readiness():
                await asyncio.sleep(0.005)
        assert "not answered from generation 2 yet" in succession.readiness()[0]
        assert generation(projector) == 1
        await tell(log, promoted(1))  # back again: nothing is waited for any more
        async with asyncio.timeout(DEADLINE_S):
            while succession.readiness():
                await asyncio.sleep(0.005)


async def test_a_rollback_goes_on_with_the_old_file(log: MemoryLog, tmp_path: Path) -> None:
    await put(log, [event(KicksGifted(amount=1))])
    async with running(log, tmp_path) as (projector, _):
        await tell(log, started(2), promoted(2))
        await answered_from(projector, 2)
        position = await put(log, [event(KicksGifted(amount=10))])
        assert await kicks(projector, position) == 11
        await tell(log, promoted(1))
        await answered_from(projector, 1)
        assert await kicks(projector, position) == 11


async def test_what_was_dropped_is_deleted_now_or_when_it_is_left(log: MemoryLog, tmp_path: Path) -> None:
    async with running(log, tmp_path) as (projector, _):
        await tell(log, started(2), promoted(2), dropped(1))  # one event after the other, while 1 still answers
        await answered_from(projector, 2)
        async with asyncio.timeout(DEADLINE_S):
            while file_of(tmp_path, 1, 0).parent.exists():
                await asyncio.sleep(0.005)
    await made(log, tmp_path, 3)
    await tell(log, started(3), dropped(3))
    async with running(log, tmp_path) as (projector, _):
        assert not file_of(tmp_path, 3, 0).parent.exists()
        assert generation(projector) == 2


@pytest.mark.parametrize("file_there", [True, False])
async def test_a_promotion_while_nobody_ran_is_made_up_for(log: MemoryLog, tmp_path: Path, file_there: bool) -> None:
    """The generation answered from last goes on answering until the live one is as far."""
    await put(log, [event(KicksGifted(amount=1)) for _ in range(5)])
    async with running(log, tmp_path) as (projector, _):
        assert await kicks(projector, 5) == 5
    await tell(log, started(2), promoted(2))
    if file_there:
        await made(log, tmp_path, 2, until=2)
    async with running(log, tmp_path) as (projector, _):
        assert projector.positions() == {0: 5}  # nothing older than before, not for a moment
        await answered_from(projector, 2)
        assert await kicks(projector, 5) == 5
    async with running(log, tmp_path) as (projector, _):
        assert generation(projector) == 2


async def test_the_note_of_another_log_means_nothing(log: MemoryLog, tmp_path: Path) -> None:
    Shelf(tmp_path, tmp_path / "snapshots", "another").note_served(0, 7)
    async with running(log, tmp_path) as (projector, _):
        assert generation(projector) == 1


async def test_a_full_disk_keeps_nobody_from_starting_nor_from_a_promotion(log: MemoryLog, tmp_path: Path) -> None:
    """The note of what answered last finds no room."""
    await put(log, [event(KicksGifted(amount=1)) for _ in range(5)])
    with mock.patch.object(Shelf, "note_served", side_effect=OSError(errno.ENOSPC, "No space left on device")):
        async with running(log, tmp_path) as (projector, succession):
            assert await kicks(projector, 5) == 5
            await tell(log, started(2), promoted(2), dropped(1))
            await answered_from(projector, 2)
            async with asyncio.timeout(DEADLINE_S):
                while file_of(tmp_path, 1, 0).exists():
                    await asyncio.sleep(0.005)
            assert succession.readiness() == []
    async with running(log, tmp_path) as (projector, _):
        assert (generation(projector), await kicks(projector, 5)) == (2, 5)


async def test_partitions_move_by_themselves_and_all_of_them(tmp_path: Path) -> None:
    log = MemoryLog(partitions=3)
    try:
        async with running(log, tmp_path) as (projector, _):
            await tell(log, started(2), promoted(2))
            for partition in range(3):
                await answered_from(projector, 2, partition)
            await projector.release(1)
            await tell(log, started(3), promoted(3))
            for partition in (0, 2):
                await answered_from(projector, 3, partition)
            await projector.take(1)
            await answered_from(projector, 3, 1)
    finally:
        await log.close()


async def test_no_question_fails_and_none_goes_back_while_generations_change(log: MemoryLog, tmp_path: Path) -> None:
    """Each answer is of one generation: the number of gifts and their sum are told by two questions of one request."""
    done = False

    async def ask(projector: Projector) -> int:
        answers, newest = 0, 0
        while not done:
            answer = await projector.reads.ask(USER, [SUMMARY, SUMMARY], min_position=newest, wait_s=DEADLINE_S)
            assert answer.position >= newest
            one, two = answer.rows
            assert one == two
            assert one[0].total_kicks == one[0].gift_events <= answer.position
            newest, answers = answer.position, answers + 1
        return answers

    async def write() -> None:
        while not done:
            await put(log, [event(KicksGifted(amount=1)) for _ in range(3)])
            await asyncio.sleep(0.001)

    async with running(log, tmp_path) as (projector, _):
        asking = [asyncio.create_task(ask(projector)) for _ in range(4)]
        writing = asyncio.create_task(write())
        for number in (2, 3, 4):
            await tell(log, started(number), promoted(number))
            await answered_from(projector, number)
            await tell(log, dropped(number - 1))
        done = True
        await writing
        assert sum([await one for one in asking]) > 20


# ------------------------------------------------------------ older read models


async def test_a_file_of_an_older_build_is_folded_and_answered_by_its_own_sql(log: MemoryLog, tmp_path: Path) -> None:
    """What it kept of the build's own SQL is seen in what it counts: twice, here."""
    (kicks_model,) = (model for model in READ_MODELS if model.name == "kicks")
    double = structs.replace(
        kicks_model,
        version=kicks_model.version - 1,
        fold=tuple(structs.replace(one, sql=one.sql.replace("amount", "2 * amount", 1)) for one in kicks_model.fold),
    )
    older = tuple(double if model.name == "kicks" else model for model in READ_MODELS)
    await put(log, [event(KicksGifted(amount=5))])
    await made(log, tmp_path, 1, models=older)
    async with running(log, tmp_path) as (projector, _):
        assert await kicks(projector, 1) == 10
        position = await put(log, [event(KicksGifted(amount=1))])
        assert await kicks(projector, position) == 12
        await tell(log, started(2), promoted(2))
        await answered_from(projector, 2)
        assert await kicks(projector, position) == 6


async def test_a_question_that_does_not_fit_older_tables_is_to_be_asked_again(log: MemoryLog, tmp_path: Path) -> None:
    await made(log, tmp_path, 1, models=tuple(model for model in READ_MODELS if model.name != "kicks"))
    async with running(log, tmp_path) as (projector, _):
        with pytest.raises(Retry, match="older version"):
            await projector.reads.ask(USER, [SUMMARY])
        await projector.reads.ask(USER, [Question(name="song_queue", parameters={"limit": 5})])
        await tell(log, started(2), promoted(2))
        await answered_from(projector, 2)
        assert await kicks(projector) == 0


async def test_a_generation_whose_fold_stops_leaves_the_live_one_as_it_is(log: MemoryLog, tmp_path: Path) -> None:
    await put(log, [event(KicksGifted(amount=1))])
    async with running(log, tmp_path) as (projector, succession):
        assert await kicks(projector, 1) == 1
        with mock.patch("projector.partition.fold", side_effect=ZeroDivisionError("a defect of ours")):
            await tell(log, started(2), promoted(2))
            async with asyncio.timeout(DEADLINE_S):
                while not succession.readiness():
                    await asyncio.sleep(0.005)
        assert (generation(projector), await kicks(projector)) == (1, 1)
        await answered_from(projector, 2)  # mended, it is tried again
        position = await put(log, [event(KicksGifted(amount=1))])
        assert await kicks(projector, position) == 2
        assert (await log.ends(EVENTS))[0] == position
