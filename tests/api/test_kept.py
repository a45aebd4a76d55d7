"""Kept answers: when they are served, when they are not, and that positions never go back."""

from __future__ import annotations

import asyncio
import time

import pytest

from api.kept import MAX_AGE_S, Answers, Kept
from schemas.control import BroadcasterRegistered
from schemas.errors import Retry
from streamkit.reads import Change
from tests.api.house import AT, USER, House

OTHER = 9


def age(house: House, seconds: float) -> None:
    """Let `seconds` pass for the kept answers."""
    house.room._answers._now_s = lambda: time.monotonic() + seconds


async def test_an_answer_is_kept_until_something_touches_the_broadcaster(house: House) -> None:
    first, second = await house.get("kicks"), await house.get("kicks")
    assert "Age" not in first.headers
    assert second.headers["Age"] == "0"
    assert first.body == second.body
    assert len(house.reads.asked) == 1
    await house.reads.commit(USER, kicks_summary=[(5, 1)])
    third = await house.get("kicks")
    assert third.json["data"]["summary"]["total_kicks"] == 5
    assert (third.headers["Streamkit-Position"], "Age" in third.headers) == ("0:11", False)


async def test_equal_parameters_share_an_answer_and_others_do_not(house: House) -> None:
    for path in ("kicks", "kicks?limit=25", "kicks?x=1&limit=25", "coins", "kicks?limit=24"):
        await house.get(path)
    assert len(house.reads.asked) == 3


async def test_a_commit_that_touches_others_only_moves_the_position(house: House) -> None:
    await house.get("kicks")
    await house.reads.commit(OTHER)
    reply = await house.get("kicks")
    assert (reply.headers["Streamkit-Position"], reply.headers["Age"]) == ("0:11", "0")
    assert (await house.get("kicks", headers={"Streamkit-Min-Position": "0:11"})).headers["Age"] == "0"
    assert len(house.reads.asked) == 1


async def test_a_hint_makes_stale_and_never_moves_the_position(house: House) -> None:
    await house.get("kicks")
    (hinted,) = house.soft.callbacks
    hinted(Change(0, 15, frozenset({OTHER})))
    assert (await house.get("kicks")).headers["Streamkit-Position"] == "0:10"
    assert len(house.reads.asked) == 1
    hinted(Change(0, 15, frozenset({USER})))
    house.reads.position = 15
    assert (await house.get("kicks")).headers["Streamkit-Position"] == "0:15"
    hinted(Change(0, 16, None))
    house.reads.position = 16
    assert (await house.get("kicks")).headers["Streamkit-Position"] == "0:16"


async def test_a_change_of_the_directory_makes_stale(house: House) -> None:
    await house.get("kicks")
    house.apply(BroadcasterRegistered(at=AT, user_id=OTHER, name="Other"))
    assert "Age" not in (await house.get("kicks")).headers


async def test_nothing_is_fresh_for_longer_than_a_second(house: House) -> None:
    await house.get("kicks")
    age(house, MAX_AGE_S + 0.1)
    assert "Age" not in (await house.get("kicks")).headers


async def test_without_a_feed_nothing_is_fresh_for_longer_than_a_tenth(house: House) -> None:
    await house.get("kicks")
    house.room._answers._told = lambda partition: False
    age(house, 0.2)
    assert "Age" not in (await house.get("kicks")).headers


async def test_many_who_ask_at_once_share_one_read(house: House) -> None:
    house.reads.gate.clear()
    asked = [asyncio.create_task(house.get("kicks")) for _ in range(20)]
    while not house.reads.asked:
        await asyncio.sleep(0)
    house.reads.gate.set()
    replies = await asyncio.gather(*asked)
    assert {reply.status for reply in replies} == {200}
    assert len(house.reads.asked) == 1


async def test_who_comes_after_a_change_is_not_given_a_read_from_before_it(house: House) -> None:
    house.reads.gate.clear()
    early = asyncio.create_task(house.get("kicks"))
    while not house.reads.asked:
        await asyncio.sleep(0)
    await house.reads.commit(USER, kicks_summary=[(5, 1)])
    late = asyncio.create_task(house.get("kicks"))
    await asyncio.sleep(0)
    house.reads.gate.set()
    await early
    assert (await late).json["data"]["summary"]["total_kicks"] == 5


# Read your writes


async def test_min_position_waits_for_the_commit(house: House) -> None:
    await house.get("kicks")
    waiting = asyncio.create_task(house.get("kicks", headers={"Streamkit-Min-Position": "7:99, 0:12,0:11"}))
    while len(house.reads.asked) < 2:
        await asyncio.sleep(0)
    await house.reads.commit(USER)
    assert not waiting.done()
    await house.reads.commit(USER, kicks_summary=[(5, 1)])
    reply = await waiting
    assert (reply.status, reply.headers["Streamkit-Position"]) == (200, "0:12")
    assert reply.json["data"]["summary"]["total_kicks"] == 5


async def test_min_position_of_other_partitions_is_ignored(house: House) -> None:
    assert (await house.get("kicks", headers={"Streamkit-Min-Position": "1:999,2:999"})).status == 200


async def test_min_position_gives_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.kept.MIN_POSITION_WAIT_S", 0.05)
    await house.get("kicks")
    reply = await house.get("kicks", headers={"Streamkit-Min-Position": "0:999"})
    assert (reply.status, reply.json["error"]) == (503, "unavailable")
    assert reply.headers["Retry-After"] == "1"


async def test_who_waits_for_a_far_position_does_not_hold_up_others(house: House) -> None:
    far = asyncio.create_task(house.get("kicks", headers={"Streamkit-Min-Position": "0:12"}))
    while not house.reads.asked:
        await asyncio.sleep(0)
    assert (await house.get("kicks")).status == 200
    await house.reads.commit(USER)
    await house.reads.commit(USER)
    assert (await far).status == 200


# The projector is away


async def test_stale_with_its_age_while_the_read_models_are_away(house: House) -> None:
    before = await house.get("kicks")
    house.reads.away = True
    age(house, 75)
    stale = await house.get("kicks")
    assert (stale.status, stale.headers["Age"], stale.body) == (200, "75", before.body)
    assert stale.headers["Streamkit-Position"] == "0:10"
    assert (await house.get("coins")).status == 503
    assert (await house.get("kicks", headers={"Streamkit-Min-Position": "0:11"})).status == 503
    house.reads.away = False
    age(house, 76)
    assert "Age" not in (await house.get("kicks")).headers


async def test_stale_while_the_read_models_hang(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.kept.PATIENCE_S", 0.05)
    before = await house.get("kicks")
    age(house, 75)
    house.reads.gate.clear()
    stale = await house.get("kicks")
    assert (stale.status, stale.headers["Age"], stale.body) == (200, "75", before.body)
    house.reads.gate.set()
    await house.reads.commit(USER, kicks_summary=[(5, 1)])
    age(house, 0)
    assert (await house.get("kicks")).json["data"]["summary"]["total_kicks"] == 5


async def asked_twice(house: House) -> None:
    """The second read is under way."""
    async with asyncio.timeout(10.0):
        while len(house.reads.asked) < 2:
            await asyncio.sleep(0)


async def test_a_slow_read_is_waited_for_when_the_older_answer_is_over_meanwhile(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.kept.PATIENCE_S", 0.05)
    await house.get("kicks")
    await house.reads.commit(OTHER)
    assert (await house.get("kicks")).headers["Streamkit-Position"] == "0:11"
    age(house, 75)
    house.reads.gate.clear()
    slow = asyncio.create_task(house.get("kicks"))
    await asked_twice(house)
    await house.reads.commit(USER)  # what is kept was true at 11, and nobody can tell that any more
    assert not (await asyncio.wait({slow}, timeout=0.2))[0]
    house.reads.gate.set()
    reply = await slow
    assert (reply.status, reply.headers["Streamkit-Position"]) == (200, "0:11")


async def test_an_older_answer_goes_not_out_after_a_newer_one_that_came_while_it_waited(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.kept.PATIENCE_S", 0.2)
    await house.get("kicks")
    age(house, 75)
    house.reads.gate.clear()
    slow = asyncio.create_task(house.get("kicks"))
    await asked_twice(house)
    house.reads.gate, held = asyncio.Event(), house.reads.gate
    house.reads.gate.set()
    await house.reads.commit(USER)
    assert (await house.get("coins")).headers["Streamkit-Position"] == "0:11"
    assert not (await asyncio.wait({slow}, timeout=0.4))[0]
    held.set()
    assert (await slow).headers["Streamkit-Position"] == "0:11"


async def test_stale_after_a_change_nobody_has_seen_yet(house: House) -> None:
    await house.get("kicks")
    await house.reads.commit(USER)
    house.reads.away = True
    assert (await house.get("kicks")).status == 200


async def test_never_older_than_what_was_served(house: House) -> None:
    """Another route went out at position 11, which touched the broadcaster: the kept answer of 10 is over."""
    await house.get("kicks")
    await house.reads.commit(USER)
    assert (await house.get("coins")).headers["Streamkit-Position"] == "0:11"
    house.reads.away = True
    assert (await house.get("kicks")).status == 503
    assert (await house.get("coins")).status == 200


async def test_a_projector_that_went_back_is_not_believed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.kept.MIN_POSITION_WAIT_S", 0.05)
    served = await house.get("kicks")
    house.reads.position = 3  # a new owner that has not caught up
    house.reads.rows["kicks_summary"] = [(1, 1)]
    age(house, 30)
    reply = await house.get("kicks")
    assert (reply.status, reply.headers["Age"], reply.body) == (200, "30", served.body)
    assert (await house.get("coins")).status == 503


async def test_positions_never_go_back_under_load(house: House) -> None:
    """Sequential callers on many routes, while commits go on: each sees at least what the one before saw."""
    newest = 0

    async def commits() -> None:
        for number in range(60):
            await house.reads.commit(USER if number % 3 else OTHER, told=number % 5 != 0)
            await asyncio.sleep(0)

    writing = asyncio.create_task(commits())
    for number in range(150):
        reply = await house.get(("kicks", "coins", "overview", "kicks?limit=3")[number % 4])
        position = int(reply.headers["Streamkit-Position"].partition(":")[2])
        assert position >= newest
        newest = position
    await writing


# The cache alone


async def _give(position: int, body: bytes = b"x") -> Kept:
    return Kept(body, 0, position, 0, time.monotonic())


async def test_the_cache_is_bounded() -> None:
    answers = Answers(lambda: 0, lambda partition: True, max_bytes=100_000)
    for number in range(1000):
        await answers.fetch((USER, "route", number), 0, lambda position, wait_s: _give(1, b"x" * 1000))
    assert answers._bytes <= 100_000
    assert len(answers._kept) <= 100
    assert answers.fresh((USER, "route", 999), 0) is not None
    assert answers.fresh((USER, "route", 1), 0) is None


async def test_a_caller_that_goes_away_leaves_the_read_to_the_others() -> None:
    answers = Answers(lambda: 0, lambda partition: True)
    gate = asyncio.Event()

    async def build(position: int, wait_s: float) -> Kept:
        await gate.wait()
        return await _give(1)

    first = asyncio.create_task(answers.fetch((USER, "route", 1), 0, build))
    second = asyncio.create_task(answers.fetch((USER, "route", 1), 0, build))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    gate.set()
    assert (await second).position == 1


async def test_a_failure_is_shared_and_not_kept() -> None:
    answers = Answers(lambda: 0, lambda partition: True)

    async def away(position: int, wait_s: float) -> Kept:
        raise Retry("away")

    with pytest.raises(Retry):
        await answers.fetch((USER, "route", 1), 0, away)
    assert (await answers.fetch((USER, "route", 1), 0, lambda position, wait_s: _give(1))).position == 1


async def test_closing_ends_the_reads_under_way() -> None:
    answers = Answers(lambda: 0, lambda partition: True)

    async def build(position: int, wait_s: float) -> Kept:
        await asyncio.Event().wait()
        raise AssertionError

    caller = asyncio.create_task(answers.fetch((USER, "route", 1), 0, build))
    await asyncio.sleep(0)
    await answers.close()
    await asyncio.wait([caller])
    assert caller.cancelled()
