"""The consumer group against a real broker: shares, moves, deaths, a member that sleeps, a broker that is away."""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from streamkit.log.kafka import KafkaLog
from streamkit.log.kafka_group import KafkaGroup
from streamkit.log.lease import LEASE_S, SESSION_TIMEOUT_S
from streamkit.log.shares import Share
from tests.services.kafka import KafkaBroker

PARTITIONS = 4
DEADLINE_S = 40.0
MOVES_WITHIN_S = 10.0


@pytest.fixture
async def log(clean_kafka: str) -> AsyncIterator[KafkaLog]:
    log = await KafkaLog.open(clean_kafka)
    yield log
    await log.close()


class Member:
    """A member in this process."""

    def __init__(self, bootstrap: str, group_id: str) -> None:
        self.shares: list[Share] = []
        self.group = KafkaGroup(
            bootstrap,
            group_id,
            secrets.token_hex(8),
            positions=lambda: dict.fromkeys(range(PARTITIONS), 0),
            changed=self.shares.append,
        )

    @property
    def held(self) -> set[int]:
        return {partition for partition in range(PARTITIONS) if self.group.holds(partition)}

    @property
    def strictly(self) -> set[int]:
        return {partition for partition in range(PARTITIONS) if self.group.holds_strictly(partition)}


@asynccontextmanager
async def member(bootstrap: str, log: KafkaLog) -> AsyncIterator[Member]:
    """One that leaves at the end."""
    one = Member(bootstrap, f"group-{log.log_id}")
    running = asyncio.create_task(one.group.run())
    try:
        yield one
    finally:
        running.cancel()
        await asyncio.wait([running])


class Child:
    """A member in a process of its own; `now` is the last line it printed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []

    @property
    def now(self) -> dict[str, Any]:
        return self.lines[-1] if self.lines else {"epoch": -1, "owned": [], "held": [], "strictly": []}

    async def follow(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.lines.append(json.loads(line))


@asynccontextmanager
async def child(bootstrap: str, log: KafkaLog, name: str = "child") -> AsyncIterator[Child]:
    """One that is killed at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.streamkit.log.group_child",
        bootstrap,
        f"group-{log.log_id}",
        name,
        str(PARTITIONS),
        stdout=asyncio.subprocess.PIPE,
    )
    one = Child(process)
    following = asyncio.create_task(one.follow())
    try:
        yield one
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await following


async def until(holds: Callable[[], bool], within_s: float = DEADLINE_S) -> float:
    """The seconds until it held."""
    began = time.monotonic()
    async with asyncio.timeout(within_s):
        while not holds():
            await asyncio.sleep(0.01)
    return time.monotonic() - began


async def test_one_owns_all_and_a_second_gets_half_of_it_and_gives_it_back(clean_kafka: str, log: KafkaLog) -> None:
    async with member(clean_kafka, log) as first:
        await until(lambda: first.strictly == set(range(PARTITIONS)))
        async with member(clean_kafka, log) as second:
            await until(lambda: len(first.strictly) == len(second.strictly) == 2)
            assert first.held | second.held == set(range(PARTITIONS))
            assert first.group.share.epoch == second.group.share.epoch > first.shares[0].epoch
        assert not second.held
        await until(lambda: first.strictly == set(range(PARTITIONS)), MOVES_WITHIN_S)


async def test_a_third_takes_one_and_the_others_keep_theirs(clean_kafka: str, log: KafkaLog) -> None:
    async with AsyncExitStack() as stack:
        members = [await stack.enter_async_context(member(clean_kafka, log)) for _ in range(2)]
        await until(lambda: all(len(each.strictly) == 2 for each in members))
        before = [each.held for each in members]
        third = await stack.enter_async_context(member(clean_kafka, log))
        await until(lambda: len(third.strictly) == 1)
        await until(lambda: sum(len(each.strictly) for each in (*members, third)) == PARTITIONS)
        assert all(each.held <= had for each, had in zip(members, before, strict=True))


async def test_what_a_killed_one_owned_moves_within_ten_seconds(clean_kafka: str, log: KafkaLog) -> None:
    async with member(clean_kafka, log) as here, child(clean_kafka, log) as there:
        await until(lambda: len(here.strictly) == 2 and len(there.now["strictly"]) == 2)
        there.process.kill()
        took_s = await until(lambda: here.strictly == set(range(PARTITIONS)), MOVES_WITHIN_S)
        assert took_s > LEASE_S / 2, "a member is not given up at once"


async def test_one_that_is_killed_and_started_again_has_at_once_what_it_had(clean_kafka: str, log: KafkaLog) -> None:
    async with member(clean_kafka, log) as here:
        async with child(clean_kafka, log) as there:
            await until(lambda: len(here.strictly) == 2 and len(there.now["strictly"]) == 2)
            had, shares = there.now["strictly"], len(here.shares)
        async with child(clean_kafka, log) as again:
            await until(lambda: again.now["strictly"] == had, SESSION_TIMEOUT_S / 2)
            assert len(here.shares) == shares, "nothing was shared out anew"


async def test_a_member_that_slept_through_its_loss_holds_nothing_when_it_wakes(
    clean_kafka: str, log: KafkaLog
) -> None:
    async with member(clean_kafka, log) as here, child(clean_kafka, log) as there:
        await until(lambda: len(here.strictly) == 2 and len(there.now["strictly"]) == 2)
        lost = set(there.now["owned"])
        there.process.send_signal(signal.SIGSTOP)
        stopped_at = time.monotonic()
        await until(lambda: here.strictly == set(range(PARTITIONS)), MOVES_WITHIN_S)
        assert time.monotonic() - stopped_at > SESSION_TIMEOUT_S / 2
        woken_at = time.monotonic()
        there.process.send_signal(signal.SIGCONT)
        await until(lambda: there.now["epoch"] > here.shares[-2].epoch and len(there.now["strictly"]) == 2)
        claimed = [line for line in there.lines if line["at"] > woken_at and set(line["held"]) & lost]
        assert all(line["epoch"] == there.now["epoch"] for line in claimed), "answered for an older generation"


async def test_a_broker_that_is_away_takes_nothing_from_those_who_run(kafka_broker: KafkaBroker, log: KafkaLog) -> None:
    async with member(kafka_broker.bootstrap, log) as first, member(kafka_broker.bootstrap, log) as second:
        await until(lambda: len(first.strictly) == len(second.strictly) == 2)
        before = first.held, second.held
        kafka_broker.kill()
        await until(lambda: not first.strictly and not second.strictly)
        assert (first.held, second.held) == before
        await asyncio.to_thread(kafka_broker.restart)
        await until(lambda: first.strictly | second.strictly == set(range(PARTITIONS)))


async def test_a_broker_that_hangs_takes_nothing_from_those_who_run(kafka_broker: KafkaBroker, log: KafkaLog) -> None:
    async with member(kafka_broker.bootstrap, log) as only:
        await until(lambda: len(only.strictly) == PARTITIONS)
        kafka_broker.process.suspend()
        try:
            await until(lambda: not only.strictly)
            assert only.held == set(range(PARTITIONS))
        finally:
            kafka_broker.process.resume()
        await until(lambda: only.strictly == set(range(PARTITIONS)))


async def test_a_broker_that_hangs_holds_up_nobody_who_leaves(kafka_broker: KafkaBroker, log: KafkaLog) -> None:
    async with member(kafka_broker.bootstrap, log) as only:
        await until(lambda: len(only.strictly) == PARTITIONS)
        kafka_broker.process.suspend()
        leaving_at = time.monotonic()
    assert time.monotonic() - leaving_at < LEASE_S
    kafka_broker.process.resume()


async def test_one_that_sleeps_while_the_broker_is_away_holds_nothing_until_it_is_back(
    kafka_broker: KafkaBroker, log: KafkaLog
) -> None:
    async with child(kafka_broker.bootstrap, log) as only:
        await until(lambda: len(only.now["strictly"]) == PARTITIONS)
        kafka_broker.kill()
        only.process.send_signal(signal.SIGSTOP)
        stopped_at = time.monotonic()
        await until(lambda: time.monotonic() > stopped_at + SESSION_TIMEOUT_S)
        woken_at = time.monotonic()
        only.process.send_signal(signal.SIGCONT)
        await until(lambda: only.now.get("at", 0.0) > woken_at + 1.0)
        assert not any(line["held"] for line in only.lines if line["at"] > woken_at)
        await asyncio.to_thread(kafka_broker.restart)
        await until(lambda: only.now["strictly"] == list(range(PARTITIONS)))
