"""Two ingest, two api and three projectors over one Kafka: who dies or sleeps is replaced, and no number goes back."""

from __future__ import annotations

import asyncio
import base64
import copy
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from streamkit.cli.simulate import story
from streamkit.keys import Keys
from streamkit.log.protocol import partition_of
from tests.drill import Platforms, check_numbers, sandbox_reader
from tests.program import Program, Reader, command, run
from tests.services.kafka import KafkaBroker
from tests.services.process import free_port

KEY = bytes(range(32))
BEARER = {"Authorization": f"Bearer {Keys.derive(KEY).internal_token}"}
PARTITIONS = 4
MOVES_AND_IS_FRESH_WITHIN_S = 20.0
DEADLINE_S = 60.0


class Site:
    """All processes, and the settings they share. `projectors` by address."""

    def __init__(self, folder: Path, log_url: str) -> None:
        self.folder = folder
        ports = [free_port() for _ in range(3)]
        self.settings = {
            "STREAMKIT_LOG_URL": log_url,
            "STREAMKIT_SECRET_KEY": base64.b64encode(KEY).decode(),
            "STREAMKIT_SANDBOX": "1",
            "STREAMKIT_RATE_LIMIT": "0",
            "STREAMKIT_SNAPSHOT_DIR": str(folder / "snapshots"),
            "STREAMKIT_PROJECTOR_URLS": ",".join(f"http://127.0.0.1:{port}" for port in ports),
        }
        self.ingests = [self._program("ingest", f"ingest-{number}") for number in range(2)]
        self.apis = [self._program("api", f"api-{number}") for number in range(2)]
        self.projectors = {
            f"http://127.0.0.1:{port}": self._program("projector", f"projector-{port}", port) for port in ports
        }

    def _program(self, room: str, name: str, port: int = 0) -> Program:
        home = self.folder / name
        home.mkdir()
        return Program(home, room, port=port, **self.settings | {"STREAMKIT_DATA_DIR": str(home / "data")})

    async def owners(self, http: aiohttp.ClientSession) -> dict[int, str]:
        """Who answers for each partition; a projector that does not answer has none."""
        found: dict[int, str] = {}
        for url in self.projectors:
            try:
                async with http.get(
                    f"{url}/internal/v1/positions", headers=BEARER, timeout=aiohttp.ClientTimeout(total=1.0)
                ) as answer:
                    told = await answer.json()
            except (aiohttp.ClientError, TimeoutError):
                continue
            found |= {int(partition): url for partition in told["positions"]}
        return found

    async def all_owned(self, http: aiohttp.ClientSession, by: int) -> dict[int, str]:
        """Who owns what once every partition is owned, by so many projectors."""

        async def look() -> dict[int, str] | None:
            owners = await self.owners(http)
            return owners if len(owners) == PARTITIONS and len(set(owners.values())) == by else None

        owners: dict[int, str] = await until(look)
        return owners


async def until(look: Callable[[], Awaitable[Any]]) -> Any:
    """The first answer that is something."""
    async with asyncio.timeout(DEADLINE_S):
        while not (found := await look()):
            await asyncio.sleep(0.05)
    return found


@pytest.fixture
def site(tmp_path: Path, kafka_log_url: str) -> Iterator[Site]:
    """All of them running."""
    site = Site(tmp_path, kafka_log_url)
    with ExitStack() as stack:
        for program in (*site.ingests, *site.projectors.values(), *site.apis):
            stack.enter_context(program)
        yield site


class Watcher:
    """Reads the overview of every api all the time: every answer is 200 and no total goes back, fresh or stale."""

    def __init__(self, http: aiohttp.ClientSession, readers: list[Reader]) -> None:
        self._http = http
        self._readers = readers
        self.answers = 0
        self.stale = 0

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for reader in self._readers:
                group.create_task(self._watch(reader))

    async def _watch(self, reader: Reader) -> None:
        total = 0
        while True:
            url = f"{reader.url}/api/public/v2/overview"
            async with self._http.get(url, headers=reader.headers) as answer:
                told = await answer.json()
                assert answer.status == 200, told
                self.answers += 1
                self.stale += "Age" in answer.headers
            assert told["data"]["events"]["total"] >= total, "a number went back"
            total = told["data"]["events"]["total"]
            await asyncio.sleep(0.02)


async def test_one_is_killed_and_one_sleeps_and_the_numbers_are_right(site: Site) -> None:
    sent = story(31, 900, rate=None, duplicates=0.1, shuffle=0.2)
    async with aiohttp.ClientSession() as http:
        await site.all_owned(http, by=3)
        user_id, first = sandbox_reader(http, site.apis[0].url, site.folder, **site.settings)
        second = copy.copy(first)
        second.url = site.apis[1].url
        partition = partition_of(str(user_id), PARTITIONS)
        parts = [sent[:300], sent[300:600], sent[600:]]
        turns = iter(range(10**9))
        newest: dict[str, int] = {}

        async def deliver(part: list[Any]) -> str:
            """To both ingests in turn; the position that holds all of it."""
            platforms = Platforms(http, lambda: site.ingests[next(turns) % 2].url, part)
            platforms.newest = newest
            await platforms.deliver()
            return platforms.min_position

        at_least = await deliver(parts[0])
        await asyncio.gather(fresh(http, at_least, first), fresh(http, at_least, second))
        watcher = Watcher(http, [first, second])
        watching = asyncio.create_task(watcher.run())

        killed = (await site.all_owned(http, by=3))[partition]
        site.projectors[killed].kill()
        began_s = time.monotonic()
        at_least = await deliver(parts[1])
        await asyncio.gather(fresh(http, at_least, first), fresh(http, at_least, second))
        assert time.monotonic() - began_s < MOVES_AND_IS_FRESH_WITHIN_S

        sleeper = (await site.all_owned(http, by=2))[partition]
        site.projectors[sleeper].process.send_signal(signal.SIGSTOP)
        began_s = time.monotonic()
        at_least = await deliver(parts[2])
        await asyncio.gather(fresh(http, at_least, first), fresh(http, at_least, second))
        assert time.monotonic() - began_s < MOVES_AND_IS_FRESH_WITHIN_S

        owners = await site.all_owned(http, by=1)
        assert owners[partition] not in (killed, sleeper)
        before = await positions(http, owners[partition])
        site.projectors[sleeper].process.send_signal(signal.SIGCONT)
        for _ in range(50):  # from its first breath on, until it is given something anew
            told = await positions(http, sleeper)
            if told["epochs"] and min(told["epochs"].values()) > max(before["epochs"].values()):
                break
            assert told["epochs"] == {}, "it says it owns what it slept through the loss of"
            assert await ask(http, sleeper, user_id) == 404

        await site.all_owned(http, by=2)
        assert not watching.done()
        watching.cancel()
        await asyncio.wait([watching])
        assert watcher.answers > 100
        for reader in (first, second):
            await check_numbers(reader, user_id, site.folder, sent, at_least, **site.settings)


async def fresh(http: aiohttp.ClientSession, at_least: str, reader: Reader) -> None:
    """Returns when the api answers from that position or later."""

    async def look() -> bool:
        asked = reader.headers | {"Streamkit-Min-Position": at_least}
        async with http.get(f"{reader.url}/api/public/v2/overview", headers=asked) as answer:
            return answer.status == 200 and "Age" not in answer.headers

    await until(look)


async def positions(http: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    async with http.get(f"{url}/internal/v1/positions", headers=BEARER) as answer:
        told: dict[str, Any] = await answer.json()
        return told


async def is_ready(http: aiohttp.ClientSession, program: Program) -> bool:
    async with http.get(f"{program.url}/readyz", headers=BEARER) as answer:
        return bool((await answer.json())["status"] == "ready")


async def ask(http: aiohttp.ClientSession, url: str, user_id: int) -> int:
    body = {"user_id": user_id, "questions": [{"name": "events_total"}]}
    async with http.post(f"{url}/internal/v1/ask", json=body, headers=BEARER) as answer:
        return answer.status


async def test_while_kafka_is_away_reads_go_on_and_afterwards_they_are_fresh(
    tmp_path: Path, kafka_broker: KafkaBroker, kafka_log_url: str
) -> None:
    site = Site(tmp_path, kafka_log_url)
    sent = story(32, 300, rate=None, duplicates=0, shuffle=0)
    two = dict(list(site.projectors.items())[:2])
    async with aiohttp.ClientSession() as http:
        with ExitStack() as stack:
            for program in (site.ingests[0], *two.values(), *site.apis):
                stack.enter_context(program)
            user_id, reader = sandbox_reader(http, site.apis[0].url, site.folder, **site.settings)
            await site.all_owned(http, by=2)
            platforms = Platforms(http, lambda: site.ingests[0].url, sent[:150])
            await platforms.deliver()
            await reader.document("overview", at_least=platforms.min_position)
            kafka_broker.kill()
            away_s = time.monotonic()
            while time.monotonic() < away_s + 8.0:  # longer than the session timeout
                assert await ask(http, (await site.all_owned(http, by=2))[0], 10**6) in (200, 404)
                document = await reader.document("overview")
                assert document["data"]["events"]["total"] >= 1
            assert len(await site.owners(http)) == PARTITIONS
            await asyncio.to_thread(kafka_broker.restart)
            rest = Platforms(http, lambda: site.ingests[0].url, sent[150:])
            await rest.deliver()
            await until(lambda: is_ready(http, site.ingests[0]))  # the spool has drained
            await site.all_owned(http, by=2)
            await fresh(http, rest.min_position, reader)
            await check_numbers(reader, user_id, site.folder, sent, rest.min_position, **site.settings)


async def test_status_tells_who_is_there_and_how_far_each_partition_is(site: Site) -> None:
    async with aiohttp.ClientSession() as http:
        await site.all_owned(http, by=3)
    status = command(site.folder, "status", **site.settings)
    assert sorted(status["positions"]) == [str(partition) for partition in range(PARTITIONS)]
    projectors = [room for room in status["rooms"] if room["room"] == "projector"]
    assert {room["url"] for room in projectors} == set(site.projectors)


async def test_up_beside_projectors_owns_everything_in_its_own_folder(site: Site) -> None:
    async with aiohttp.ClientSession() as http:
        before = await site.all_owned(http, by=3)
        home = site.folder / "up"
        home.mkdir()
        with Program(home, "up", port=0, **site.settings | {"STREAMKIT_DATA_DIR": str(home / "data")}) as up:
            async with http.get(f"{up.url}/readyz", headers=BEARER) as answer:
                told = await answer.json()
            assert sorted(told["positions"]) == [str(partition) for partition in range(PARTITIONS)]
            assert await site.owners(http) == before


def test_two_projectors_in_one_folder_are_refused(tmp_path: Path, kafka_log_url: str) -> None:
    settings = {"STREAMKIT_LOG_URL": kafka_log_url, "STREAMKIT_SECRET_KEY": base64.b64encode(KEY).decode()}
    with Program(tmp_path, "projector", port=0, **settings):
        ran = run(tmp_path, "projector", "--port", "0", **settings)
    assert ran.returncode == 3
    assert "STREAMKIT_DATA_DIR" in ran.stderr
