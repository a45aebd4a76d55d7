"""Drills: patient platforms that deliver until they get a 2xx, and the check that every number is right afterwards."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct

from schemas.event import Event, decode_event
from schemas.first_party_kinds import FIRST_PARTY_STRUCTS
from schemas.first_party_route import PUSH_EVENTS
from schemas.first_party_sent import BY_SOMEBODY
from streamkit.simulation.delivery import Delivery
from tests.oracle import Oracle, answers, differences
from tests.program import API, Program, Reader, command, run
from tests.simulated import events_of
from tests.strategies_first_party import first_party_data
from tests.strategies_hand import Hand

PLATFORMS = ("kick", "twitch")
DEADLINE_S = 120.0
READY_S = 60.0


class Push(Struct, frozen=True):
    """A request of a streamer's own bot, as deliveries are of a platform."""

    body: bytes
    headers: dict[str, str]
    path: str = PUSH_EVENTS.path


def pushes(seed: int, count: int, headers: dict[str, str]) -> list[Push]:
    """`count` events of every kind in requests of one to five, with ids 0, 1, 2, … and a third of them sent twice."""
    hand = Hand(random.Random(seed).randint, ids=20)
    events = [_sent(hand, number) for number in range(count)]
    requests = []
    while events:
        size = hand.number(1, 5)
        requests += [events[:size]] * (2 if hand.chance(3) else 1)
        events = events[size:]
    return [Push(json.dumps(request).encode(), {"Content-Type": "application/json"} | headers) for request in requests]


def _sent(hand: Hand, number: int) -> dict[str, Any]:
    kind = hand.pick(tuple(FIRST_PARTY_STRUCTS))
    data = msgspec.to_builtins(first_party_data(hand, kind))
    data |= data.pop("settings", {})
    data.pop("keyword_word", None)
    event = {"id": str(number), "type": kind, "data": data}
    if kind in BY_SOMEBODY or hand.chance(4):
        viewer = hand.viewer()
        event["actor"] = {"platform": hand.pick(PLATFORMS), "id": viewer.id, "name": viewer.name}
    if not hand.chance(4):
        event["occurred_at"] = (_now() - timedelta(seconds=hand.number(0, 600))).isoformat(timespec="seconds")
    return event


class Platforms:
    """Kick and Twitch, or a bot: post every delivery, the same one again until a 2xx comes.

    `url` may change between attempts, `pause_s` is each worker's rest between two requests. `answered` counts the deliveries done, `newest` is the greatest position told
    per partition, `retries` the attempts that got no 2xx.
    """

    def __init__(
        self,
        http: aiohttp.ClientSession,
        url: Callable[[], str],
        deliveries: Sequence[Delivery | Push],
        *,
        pause_s: float = 0.0,
    ) -> None:
        self._http = http
        self._url = url
        self._waiting = iter(deliveries)
        self._pause_s = pause_s
        self._changed = asyncio.Condition()
        self.answered = 0
        self.retries = 0
        self.newest: dict[str, int] = {}

    @property
    def min_position(self) -> str:
        """A Streamkit-Min-Position that holds everything answered."""
        return ",".join(f"{partition}:{position}" for partition, position in self.newest.items())

    async def deliver(self, workers: int = 12) -> None:
        """Returns when all are answered."""
        async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._work())

    async def reached(self, count: int) -> None:
        """Returns when `count` deliveries are answered."""
        async with asyncio.timeout(DEADLINE_S), self._changed:
            await self._changed.wait_for(lambda: self.answered >= count)

    async def _work(self) -> None:
        for delivery in self._waiting:
            while not await self._accepted(delivery):
                self.retries += 1
                await asyncio.sleep(0.02)  # a platform's pause before it tries again
            async with self._changed:
                self.answered += 1
                self._changed.notify_all()
            await asyncio.sleep(self._pause_s)

    async def _accepted(self, delivery: Delivery | Push) -> bool:
        try:
            async with self._http.post(
                self._url() + delivery.path, data=delivery.body, headers=delivery.headers
            ) as answer:
                await answer.read()
        except (aiohttp.ClientError, OSError):
            return False
        assert answer.status < 300 or answer.status == 503, (answer.status, delivery.headers)
        if answer.status == 503:
            return False
        partition, _, position = answer.headers.get("Streamkit-Position", "").partition(":")
        if position:
            self.newest[partition] = max(self.newest.get(partition, 0), int(position))
        return True


async def readiness_of(http: aiohttp.ClientSession, program: Program, token: str, holds: Callable[[Any], bool]) -> Any:
    """The first answer of `/readyz` that holds; fails the test after a deadline."""
    deadline = time.monotonic() + READY_S
    while True:
        async with http.get(f"{program.url}/readyz", headers={"Authorization": f"Bearer {token}"}) as answer:
            readiness = await answer.json()
        if holds(readiness):
            return readiness
        assert time.monotonic() < deadline, (readiness, program.output()[-3000:])
        await asyncio.sleep(0.05)


def sandbox_reader(http: aiohttp.ClientSession, url: str, folder: Path, **settings: str) -> tuple[int, Reader]:
    """The sandbox streamer's user_id and credentials to read and to push, issued on the command line."""
    (account,) = command(folder, "accounts", "list", **settings)
    user_id: int = account["user_id"]
    scopes = ("--scopes", "read events:write")
    issued = command(folder, "credentials", "issue", "--user-id", str(user_id), *scopes, **settings)
    return user_id, Reader(http, url, issued)


async def check_numbers(
    reader: Reader,
    user_id: int,
    folder: Path,
    sent: Sequence[Delivery],
    at_least: str,
    pushed: int = 0,
    /,
    **settings: str,
) -> None:
    """Everything sent is on the log, nothing else is, and every answer of the API is the oracle's.

    Two ways to the same numbers: from the records on the log, and from what was sent alone. `pushed`: how many events
    a bot pushed beside it.
    """
    on_log, served = await check_answers(reader, user_id, folder, at_least, **settings)
    by_bot = {event.event_id for event in on_log if event.event_id.startswith("streamkit:")}
    assert by_bot == {f"streamkit:{user_id}:{number}" for number in range(pushed)}
    by_platforms = [event for event in on_log if event.event_id not in by_bot]
    by_sending = events_of(sent, user_id)
    assert {event.event_id for event in by_platforms} <= {event.event_id for event in by_sending}, "from nowhere"
    assert _facts(Oracle(by_platforms)) == _facts(Oracle(by_sending)), "lost or counted twice"
    of_sent = Oracle(by_sending).overview(user_id, PLATFORMS, _now())
    of_sent["events"]["total"] += pushed
    if pushed:  # rules, gambles and adjustments are coins too
        del of_sent["coins"]
    assert differences(of_sent, served["/api/public/v2/overview"]) == []


async def check_answers(
    reader: Reader, user_id: int, folder: Path, at_least: str, **settings: str
) -> tuple[list[Event], dict[str, Any]]:
    """Every answer of the API is the oracle's over the records on the log; gives back the events there, and the answers."""
    served = {path: await reader.get(path.removeprefix(API), at_least=at_least) for path in answers([], 1, (), _now())}
    records = log_records(folder, **settings)
    expected = answers(records, user_id, PLATFORMS, _now())
    different = [line for path in expected for line in differences(expected[path], served[path], path)]
    assert not different, different
    return [decode_event(record) for record in records], served


def log_records(folder: Path, **settings: str) -> list[bytes]:
    """The events log's records in log order, as `streamkit log tail` tells them."""
    told = run(folder, "log", "tail", "--jsonl", **settings)
    assert told.returncode == 0, told.stderr
    return [line.encode() for line in told.stdout.splitlines()]


def _facts(oracle: Oracle) -> list[Any]:
    """Standing events without what may differ between two deliveries of one fact: its id and its receipt."""
    facts = [(e.type, e.platform, e.occurred_at, e.actor, e.natural_key, e.data) for e in oracle.standing]
    return sorted(facts, key=repr)


def _now() -> datetime:
    return datetime.now(UTC)
