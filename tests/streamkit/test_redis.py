"""Soft state, in-process and by a real server: it never raises, never blocks, and comes back by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
from redis.asyncio import Redis

from schemas.errors import BadSettings
from streamkit.reads import Change
from streamkit.redis import KnownIds, Shared, SoftState, open_soft_state
from tests.services.redis import RedisServer

DEADLINE_S = 10.0


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that a background task brings about."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.005)


async def until_known(state: SoftState, event_id: str) -> str:
    async with asyncio.timeout(DEADLINE_S):
        while (position := await state.known(event_id)) is None:
            await asyncio.sleep(0.005)
    return position


class Opener:
    """Opens soft states and closes them all."""

    def __init__(self) -> None:
        self._opened: list[SoftState] = []

    async def __call__(self, url: str | None, log_id: str = "a-log") -> SoftState:
        state = await open_soft_state(url, log_id)
        self._opened.append(state)
        return state

    async def close(self) -> None:
        for state in self._opened:
            await state.close()
            await state.close()


@pytest.fixture
async def opened() -> AsyncIterator[Opener]:
    opener = Opener()
    yield opener
    await opener.close()


async def test_in_process_knows_what_it_was_told(opened: Opener) -> None:
    state = await opened(None)
    assert (state.shared, state.connected) == (False, True)
    assert await state.known("kick:1") is None
    state.remember("kick:1", "0:5")
    assert await state.known("kick:1") == "0:5"


async def test_in_process_changes_reach_every_callback(opened: Opener) -> None:
    state = await opened(None)
    heard: list[Change] = []
    state.on_change(heard.append)
    state.on_change(heard.append)
    change = Change(0, 7, frozenset({1}))
    state.publish(change)
    assert heard == [change, change]


def test_an_id_is_known_for_a_day() -> None:
    now = 0.0
    ids = KnownIds(lambda: now)
    ids.put("a", "0:1")
    now = 24 * 3600 - 1
    assert ids.get("a") == "0:1"
    ids.put("b", "0:2")
    now = 24 * 3600
    assert ids.get("a") is None
    assert ids.get("b") == "0:2"


def test_the_oldest_ids_make_room() -> None:
    ids = KnownIds()
    for number in range(100_001):
        ids.put(str(number), "0:1")
    assert ids.get("0") is None
    assert ids.get("1") == "0:1"
    assert ids.get("100000") == "0:1"


@pytest.mark.parametrize("url", ["", "localhost", "http://localhost:6379", "redis://localhost:port"])
async def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(BadSettings, match="STREAMKIT_REDIS_URL"):
        await open_soft_state(url, "a-log")


async def test_ids_are_known_to_other_processes_of_the_log_and_to_no_other_log(redis_url: str, opened: Opener) -> None:
    here, there = await opened(redis_url, "log-1"), await opened(redis_url, "log-1")
    other_log = await opened(redis_url, "log-2")
    assert (here.shared, here.connected) == (True, True)
    assert await there.known("kick:1") is None
    here.remember("kick:1", "3:42")
    assert await until_known(there, "kick:1") == "3:42"
    assert await other_log.known("kick:1") is None


async def test_what_clients_spend_reaches_the_other_processes_alone(redis_url: str, opened: Opener) -> None:
    here, there = await opened(redis_url, "spent"), await opened(redis_url, "spent")
    alone = await opened(None)
    told: dict[str, list[Mapping[str, int]]] = {"here": [], "there": [], "alone": []}
    here.on_spent(told["here"].append)
    there.on_spent(told["there"].append)
    alone.on_spent(told["alone"].append)
    async with asyncio.timeout(DEADLINE_S):
        while not told["there"]:  # a note may come before the other one listens
            here.spend({"skc_a": 3})
            await asyncio.sleep(0.01)
    alone.spend({"skc_a": 3})
    assert told["there"][0] == {"skc_a": 3}
    assert not told["here"]
    assert not told["alone"]


async def test_many_are_asked_at_once(redis_url: str, opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamkit.redis._ANSWER_S", DEADLINE_S)  # how soon is another test's question
    here, there = await opened(redis_url, "many"), await opened(redis_url, "many")
    for number in range(3000):
        here.remember(f"kick:{number}", f"0:{number + 1}")
    await until_known(there, "kick:2999")
    answers = await asyncio.gather(*(there.known(f"kick:{number}") for number in range(300)))
    assert answers == [f"0:{number + 1}" for number in range(300)]


async def test_changes_reach_other_processes_and_this_one_once(redis_url: str, opened: Opener) -> None:
    here, there = await opened(redis_url, "log-c"), await opened(redis_url, "log-c")
    other_log = await opened(redis_url, "log-d")
    heard: dict[str, list[Change]] = {"here": [], "there": [], "other": []}
    here.on_change(heard["here"].append)
    there.on_change(heard["there"].append)
    other_log.on_change(heard["other"].append)
    sent = 0
    async with asyncio.timeout(DEADLINE_S):
        while not heard["there"]:  # the subscription may be a moment later than the first change
            sent += 1
            here.publish(Change(0, sent, frozenset({1, 2})))
            await asyncio.sleep(0.01)
    here.publish(Change(1, 99, None))
    await until(lambda: heard["there"][-1] == Change(1, 99, None))
    assert heard["there"][0].user_ids == frozenset({1, 2})
    assert [change.position for change in heard["here"]] == [*range(1, sent + 1), 99]
    assert heard["other"] == []


async def test_a_server_killed_in_mid_run_costs_nothing_and_comes_back(
    redis_server: RedisServer, opened: Opener
) -> None:
    here, there = await opened(redis_server.url), await opened(redis_server.url)
    here.remember("kick:before", "0:1")
    await until_known(there, "kick:before")

    redis_server.kill()
    for number in range(200):
        here.remember(f"kick:{number}", f"0:{number}")
        here.publish(Change(0, number, frozenset({1})))
        began = time.monotonic()
        assert await here.known(f"kick:{number}") == f"0:{number}"
        assert await there.known(f"kick:{number}") is None
        assert time.monotonic() - began < 1.0
    await until(lambda: not here.connected and not there.connected)

    await asyncio.to_thread(redis_server.restart)
    await until(lambda: here.connected and there.connected)
    here.remember("kick:after", "0:2")
    assert await until_known(there, "kick:after") == "0:2"
    heard: list[Change] = []
    there.on_change(heard.append)
    async with asyncio.timeout(DEADLINE_S):
        while not heard:
            here.publish(Change(0, 3, None))
            await asyncio.sleep(0.01)


async def test_a_server_that_hangs_is_asked_once_a_second_at_most(redis_server: RedisServer, opened: Opener) -> None:
    state = await opened(redis_server.url)
    redis_server.process.suspend()
    try:
        began = time.monotonic()
        answers = [await state.known(f"kick:{number}") for number in range(100)]
        assert time.monotonic() - began < 0.5
        assert set(answers) == {None}
        await until(lambda: not state.connected)
    finally:
        redis_server.process.resume()
    await until(lambda: state.connected)


async def test_a_server_that_is_not_there_at_the_start_is_found_later(
    redis_server: RedisServer, opened: Opener
) -> None:
    redis_server.kill()
    state = await opened(redis_server.url)
    assert not state.connected
    state.remember("kick:1", "0:1")
    assert await state.known("kick:1") == "0:1"
    await asyncio.to_thread(redis_server.restart)
    await until(lambda: state.connected)


async def test_it_can_be_closed_at_any_turn_of_the_loop(redis_url: str) -> None:
    """Before Python 3.12 the client loses a cancellation that comes just when it has sent SUBSCRIBE."""
    for turns in range(40):
        state = await open_soft_state(redis_url, "any-turn")
        for _ in range(turns):
            await asyncio.sleep(0)
        async with asyncio.timeout(DEADLINE_S):
            await state.close()


async def test_a_full_server_counts_as_away(redis_server: RedisServer, opened: Opener) -> None:
    state = await opened(redis_server.url, "full")
    assert isinstance(state, Shared)
    client = Redis.from_url(redis_server.url)
    try:
        await client.config_set("maxmemory", "1")
        state.remember("kick:1", "0:1")
        await until(lambda: not state.connected)
        await client.config_set("maxmemory", "0")
        await until(lambda: state.connected)
    finally:
        await client.aclose()


async def test_a_lock_keeps_processes_apart_until_it_is_given_back_or_runs_out(opened: Opener, redis_url: str) -> None:
    one, other = await opened(redis_url, "locks"), await opened(redis_url, "locks")
    elsewhere = await opened(redis_url, "another-log")
    assert await one.acquire("work", 30.0)
    assert not await other.acquire("work", 30.0)
    assert await elsewhere.acquire("work", 0.05)
    await other.release("work")  # not its own
    assert not await other.acquire("work", 30.0)
    await one.release("work")
    assert await other.acquire("work", 0.05)
    async with asyncio.timeout(DEADLINE_S):
        while not await one.acquire("work", 0.05):
            await asyncio.sleep(0.005)


async def test_without_a_server_everybody_has_the_lock(opened: Opener, redis_server: RedisServer) -> None:
    alone, shared = await opened(None), await opened(redis_server.url)
    redis_server.kill()
    for state in (alone, shared):
        for _ in range(2):
            assert await state.acquire("work", 30.0)
        await state.release("work")
