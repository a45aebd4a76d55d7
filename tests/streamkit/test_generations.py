from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from schemas.control import ControlEvent, GenerationDropped, GenerationPromoted, GenerationStarted
from schemas.event import utc_now
from streamkit.generations import Generations, tell
from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import CONTROL, Record


def started(generation: int, by: str = "ann", **versions: int) -> GenerationStarted:
    return GenerationStarted(at=utc_now(), by=by, generation=generation, versions=versions)


def promoted(generation: int) -> GenerationPromoted:
    return GenerationPromoted(at=utc_now(), by="ann", generation=generation)


def dropped(generation: int) -> GenerationDropped:
    return GenerationDropped(at=utc_now(), by="ann", generation=generation)


def told(*events: ControlEvent) -> Generations:
    generations = Generations()
    for event in events:
        generations.apply(event)
    return generations


def test_the_first_is_live_without_any_record() -> None:
    generations = Generations()
    assert (generations.live, generations.before, generations.next_id) == (1, None, 2)
    assert [one.id for one in generations.standing] == [1]


def test_the_first_record_for_a_number_stands() -> None:
    generations = told(started(2, coins=4), started(2, "bob", coins=5))
    found = generations.find(2)
    assert found is not None
    assert (found.by, found.versions) == ("ann", {"coins": 4})


def test_the_newest_promotion_is_live_and_a_rollback_goes_to_the_one_before() -> None:
    generations = told(started(2), promoted(2), started(3), promoted(3))
    assert (generations.live, generations.before) == (3, 2)
    generations.apply(promoted(2))
    assert (generations.live, generations.before) == (2, 3)


@pytest.mark.parametrize("event", [promoted(7), promoted(1), dropped(7), dropped(1), started(1)])
def test_what_means_nothing_changes_nothing(event: ControlEvent) -> None:
    generations = Generations()
    assert not generations.apply(event)
    assert generations.live == 1


def test_what_was_dropped_is_not_promoted_and_not_gone_back_to() -> None:
    generations = told(started(2), promoted(2), dropped(1), promoted(1))
    assert (generations.live, generations.before, generations.find(1), generations.dropped) == (
        2,
        None,
        None,
        frozenset({1}),
    )


@pytest.mark.parametrize(("kept", "gone"), [(1, [1, 2, 3]), (2, [1, 3]), (3, [3]), (9, [3])])
def test_beyond_what_is_kept_go_the_oldest_and_what_was_never_live(kept: int, gone: list[int]) -> None:
    generations = told(started(2), promoted(2), started(3), started(4), promoted(4), started(5))
    assert generations.beyond(kept) == gone


def test_versions_that_were_promoted_once_are_remembered() -> None:
    generations = told(started(2, coins=5), promoted(2), promoted(1))
    assert generations.was_live({"coins": 5})
    assert not generations.was_live({"coins": 6})


@pytest.fixture
async def log() -> AsyncIterator[MemoryLog]:
    made = MemoryLog()
    yield made
    await made.close()


async def test_whoever_tells_reads_what_stands(log: MemoryLog) -> None:
    await log.append(CONTROL, [Record("x", b"nothing that can be read")])
    mine, yours = Generations(), Generations()
    await tell(log, mine, started(2, "ann"))
    await tell(log, yours, started(2, "bob"))
    found = yours.find(2)
    assert found is not None
    assert found.by == "ann"
