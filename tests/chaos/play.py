"""One round from its beginning to the check: everything answered with 2xx is counted once, and no count went back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import aiohttp

from streamkit.cli.simulate import story
from streamkit.simulation.delivery import Delivery
from tests.chaos.deployment import Deployment
from tests.chaos.plan import Fault, Plan
from tests.chaos.watch import Watcher
from tests.drill import Platforms, Push, check_numbers, pushes, sandbox_reader
from tests.program import Reader, command
from tests.services.kafka import KafkaBroker, delete_topics
from tests.services.redis import RedisServer

WORKERS = 12
PAUSE_S = 0.1
"""Of each worker between two requests: the traffic of a round takes several seconds."""
REQUEST_S = 10.0
SETTLE_S = 60.0
"""For what waited somewhere (a spool, a log that was away) to be counted when all is well again."""


class Servers:
    """A broker and a Redis for the rounds that need them, started when the first one does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._broker: KafkaBroker | None = None
        self._redis: RedisServer | None = None

    async def get(self) -> tuple[KafkaBroker, RedisServer]:
        """Both, running, the broker without topics of ours."""
        if self._broker is None or self._redis is None:
            folders = [self._folder / name for name in ("kafka", "redis")]
            for folder in folders:
                folder.mkdir()
            self._broker, self._redis = KafkaBroker(folders[0]), RedisServer(folders[1])
        for server in (self._broker, self._redis):
            if not server.process.is_running:
                await asyncio.to_thread(server.start)
        await delete_topics(self._broker.bootstrap)
        return self._broker, self._redis

    def close(self) -> None:
        """End both; idempotent."""
        for server in (self._broker, self._redis):
            if server is not None:
                server.kill()


@contextmanager
def servers(folder: Path) -> Iterator[Servers]:
    """Servers that end with the block."""
    both = Servers(folder)
    try:
        yield both
    finally:
        both.close()


async def play(plan: Plan, folder: Path, both: Servers) -> str:
    """Play the round in `folder`; a line about it. An AssertionError says what was lost, doubled or went back."""
    broker, redis = await both.get() if plan.kind == "kafka" else (None, None)
    clock = asyncio.get_running_loop().time
    async with (
        Deployment(plan.kind, folder, broker, redis) as deployment,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=REQUEST_S)) as http,
    ):
        user_id, reader = sandbox_reader(http, deployment.url("api"), folder, **deployment.settings)
        sent = story(plan.seed, plan.deliveries, rate=None, duplicates=plan.duplicates, shuffle=plan.shuffle)
        drawn = random.Random(plan.seed)
        traffic: list[Delivery | Push] = [*sent, *pushes(plan.seed, plan.pushes, reader.headers)]
        drawn.shuffle(traffic)
        platforms = Platforms(http, lambda: deployment.url("ingest", drawn.randrange(2)), traffic, pause_s=PAUSE_S)
        watcher = Watcher(http, lambda: deployment.url("api"), reader.headers)
        async with _running(watcher):
            began_s = clock()
            async with asyncio.TaskGroup() as group:
                group.create_task(platforms.deliver(WORKERS))
                for fault in plan.faults:
                    group.create_task(_strike(deployment, platforms, fault, len(traffic)))
            answered_s = clock()
            await _settled(deployment, reader, user_id, folder, sent, plan.pushes)
            settled_s = clock()
        assert not watcher.went_back, watcher.went_back
    return (
        f"{len(traffic)} requests in {answered_s - began_s:.1f} s, {platforms.retries} tried again; right "
        f"{settled_s - answered_s:.1f} s later; {watcher.reads} reads"
    )


async def _strike(deployment: Deployment, platforms: Platforms, fault: Fault, requests: int) -> None:
    await platforms.reached(int(fault.at * requests))
    await deployment.strike(fault)


@asynccontextmanager
async def _running(watcher: Watcher) -> AsyncIterator[None]:
    watching = asyncio.create_task(watcher.watch())
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def _settled(
    deployment: Deployment, reader: Reader, user_id: int, folder: Path, sent: list[Delivery], pushed: int
) -> None:
    """Every number becomes right, and soon."""
    deadline_s = asyncio.get_running_loop().time() + SETTLE_S
    while True:
        ends = await asyncio.to_thread(command, folder, "log", "info", **deployment.settings)
        at_least = ",".join(
            f"{part['partition']}:{part['end']}" for part in ends["partitions"] if part["topic"] == "streamkit.events"
        )
        try:
            await check_numbers(reader, user_id, folder, sent, at_least, pushed, **deployment.settings)
            return
        except AssertionError:
            if asyncio.get_running_loop().time() > deadline_s:
                raise
