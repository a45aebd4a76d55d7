"""Work shared out: by hashing over those that live, kept apart by leases, with and without a server."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from streamkit.leases import Leases, owner_of
from streamkit.redis import InProcess, SoftState, open_soft_state
from tests.services.redis import RedisServer
from tests.streamkit.test_redis import DEADLINE_S, until

NAMES = [str(number) for number in range(40)]


@pytest.fixture
async def softs(redis_url: str, request: pytest.FixtureRequest) -> AsyncIterator[list[SoftState]]:
    """Three processes of one deployment."""
    opened = [await open_soft_state(redis_url, f"leases-{request.node.name}") for _ in range(3)]
    yield opened
    for soft in opened:
        await soft.close()


async def settled(leases: list[Leases], held: list[frozenset[str]]) -> list[frozenset[str]]:
    """Beat, as processes that end what is not theirs, until everything is done by whose it is."""
    living = [each.me for each in leases]
    wanted = [{name for name in NAMES if owner_of(name, living) == me} for me in living]
    async with asyncio.timeout(DEADLINE_S):
        while True:
            for index, each in enumerate(leases):
                mine = await each.share(NAMES, held[index])
                await each.give_back(held[index] - mine)
                held[index] = mine
                assert max(Counter(name for share in held for name in share).values(), default=0) <= 1
            if held == wanted:
                return held
            await asyncio.sleep(0.01)


def test_who_comes_or_goes_moves_only_its_own_share() -> None:
    before = {name: owner_of(name, ["a", "b", "c"]) for name in NAMES}
    assert set(before.values()) == {"a", "b", "c"}
    after = {name: owner_of(name, ["a", "b"]) for name in NAMES}
    assert all(after[name] == owner for name, owner in before.items() if owner != "c")
    assert owner_of("x", []) is None


async def test_without_a_server_a_process_is_alone() -> None:
    leases = Leases(InProcess(), "work")
    assert await leases.share(NAMES, ()) == set(NAMES)
    await leases.give_back(NAMES)
    await leases.leave(NAMES)


async def test_everything_is_somebodys_and_nothing_is_two_peoples(softs: list[SoftState]) -> None:
    leases = [Leases(soft, "work", lease_s=2.0) for soft in softs]
    held = await settled(leases[:1], [frozenset()])
    assert held == [frozenset(NAMES)]
    held = await settled(leases, [*held, frozenset(), frozenset()])
    assert all(held)
    first = held[0]
    await leases[0].leave(first)
    rest = await settled(leases[1:], held[1:])
    assert rest[0] >= held[1]
    assert rest[1] >= held[2]


async def test_what_a_dead_process_did_is_another_ones_after_the_lease(softs: list[SoftState]) -> None:
    leases = [Leases(soft, "work", lease_s=0.5) for soft in softs[:2]]
    held = await settled(leases, [frozenset(), frozenset()])
    assert held[0]
    assert await settled(leases[1:], held[1:]) == [frozenset(NAMES)]


async def test_while_the_server_is_away_everyone_goes_on_and_nobody_takes_more(redis_server: RedisServer) -> None:
    softs = [await open_soft_state(redis_server.url, "leases-away") for _ in range(2)]
    try:
        worker, idle = (Leases(soft, "work", lease_s=1.0) for soft in softs)
        held = (await settled([worker], [frozenset()]))[0]
        redis_server.kill()
        await until(lambda: not any(soft.connected for soft in softs))
        assert await worker.share(NAMES, held) == held
        assert await worker.share(NAMES[:3], held) == set(NAMES[:3])
        assert await idle.share(NAMES, ()) == frozenset()
        redis_server.restart()
        await until(lambda: all(soft.connected for soft in softs))
        # The server has forgotten everything: who comes first may not take what another one does.
        assert await idle.share(NAMES, ()) == frozenset()
        await settled([worker, idle], [held, frozenset()])
    finally:
        for soft in softs:
            await soft.close()


async def test_who_leads_goes_on_until_it_leaves(softs: list[SoftState]) -> None:
    leases = [Leases(soft, "work", lease_s=60.0) for soft in softs]
    assert [await each.lead("it", held=False) for each in leases] == [True, False, False]
    assert [await each.lead("it", held=index == 0) for index, each in enumerate(leases)] == [True, False, False]
    await leases[0].leave(["it"])
    assert await leases[2].lead("it", held=False)
    assert await Leases(InProcess(), "work").lead("it", held=False)
