"""ingest, projector and api as three processes, over SQLite and over real Kafka and Redis: the same numbers as ever."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from msgspec import Struct

from streamkit.cli.simulate import story
from streamkit.keys import Keys
from tests.drill import Platforms, check_answers, check_numbers, pushes, sandbox_reader
from tests.program import Program, command, run
from tests.services.process import free_port
from tests.services.redis import RedisServer
from tests.wire import ask, parsed

KEY = bytes(range(32))
TOKEN = Keys.derive(KEY).internal_token
DEADLINE_S = 20.0


class Deployment(Struct):
    """Three processes and the settings they share."""

    folder: Path
    settings: dict[str, str]
    ingest: Program
    projector: Program
    api: Program


@pytest.fixture(params=["sqlite", "kafka"])
def deployment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deployment]:
    """The three over one log. Over Kafka with a real Redis beside it."""
    settings = {}
    if request.param == "kafka":
        settings["STREAMKIT_LOG_URL"] = request.getfixturevalue("kafka_log_url")
        settings["STREAMKIT_REDIS_URL"] = request.getfixturevalue("redis_url")
    with running(tmp_path, settings) as started:
        yield started


@contextmanager
def running(folder: Path, settings: dict[str, str]) -> Iterator[Deployment]:
    """Start all three, stop them at the end."""
    ports = {"ingest": free_port(), "projector": free_port(), "api": free_port()}
    settings = settings | {
        "STREAMKIT_SECRET_KEY": base64.b64encode(KEY).decode(),
        "STREAMKIT_SANDBOX": "1",
        "STREAMKIT_RATE_LIMIT": "0",
        "STREAMKIT_PROJECTOR_URLS": f"http://127.0.0.1:{ports['projector']}",
    }
    programs = {name: Program(folder, name, port=port, **settings) for name, port in ports.items()}
    with ExitStack() as stack:
        for program in programs.values():
            stack.enter_context(program)
        yield Deployment(folder, settings, **programs)


async def test_deliveries_in_numbers_out(deployment: Deployment) -> None:
    sent = story(11, 600, rate=None, duplicates=0.1, shuffle=0.2)
    async with aiohttp.ClientSession() as http:
        user_id, reader = sandbox_reader(http, deployment.api.url, deployment.folder, **deployment.settings)
        platforms = Platforms(http, lambda: deployment.ingest.url, sent)
        await platforms.deliver()
        await check_numbers(reader, user_id, deployment.folder, sent, platforms.min_position, **deployment.settings)


async def test_a_bot_pushes_to_ingest_and_reads_from_api(deployment: Deployment) -> None:
    async with aiohttp.ClientSession() as http:
        user_id, reader = sandbox_reader(http, deployment.api.url, deployment.folder, **deployment.settings)
        bot = Platforms(http, lambda: deployment.ingest.url, pushes(18, 300, reader.headers))
        await bot.deliver()
        at_least = bot.min_position
        on_log, served = await check_answers(reader, user_id, deployment.folder, at_least, **deployment.settings)
        assert {event.event_id for event in on_log} == {f"streamkit:{user_id}:{number}" for number in range(300)}
        assert served["/api/public/v2/overview"]["events"] == {"total": 300}


async def test_every_room_answers_what_it_does_not_know_in_the_same_words(tmp_path: Path) -> None:
    with running(tmp_path, {}) as deployment:
        for program in (deployment.ingest, deployment.projector, deployment.api):
            for sent in (b"GET /nope HTTP/1.1\r\nHost: x\r\n\r\n", b"nope\r\n\r\n"):
                status, headers, body = parsed(await ask(program.url, sent, end=True))
                assert (status, body["error"]) in ((404, "not_found"), (400, "bad_request"))
                assert (body["ok"], body["status"], headers["server"]) == (False, status, "StreamKit")
        truncated = (
            b"POST /webhooks/kick HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{"
        )
        status, _, body = parsed(await ask(deployment.ingest.url, truncated, end=True))
        assert (status, body["error"]) == (400, "truncated")


async def test_each_process_may_die_and_come_back(deployment: Deployment) -> None:
    """`kill -9` of each of the three under load, one after the other."""
    sent = story(12, 900, rate=None, duplicates=0.1, shuffle=0.2)
    async with aiohttp.ClientSession() as http:
        user_id, reader = sandbox_reader(http, deployment.api.url, deployment.folder, **deployment.settings)
        platforms = Platforms(http, lambda: deployment.ingest.url, sent)
        delivering = asyncio.create_task(platforms.deliver())
        for number, program in enumerate((deployment.projector, deployment.ingest, deployment.api)):
            await platforms.reached(200 * (number + 1))
            await asyncio.to_thread(program.kill)
            await asyncio.to_thread(program.start)
        await delivering
        await check_numbers(reader, user_id, deployment.folder, sent, platforms.min_position, **deployment.settings)


async def test_a_projector_that_folds_from_nothing_gives_the_same_numbers(deployment: Deployment) -> None:
    sent = story(13, 300, rate=None, duplicates=0.1, shuffle=0.2)
    async with aiohttp.ClientSession() as http:
        user_id, reader = sandbox_reader(http, deployment.api.url, deployment.folder, **deployment.settings)
        platforms = Platforms(http, lambda: deployment.ingest.url, sent)
        await platforms.deliver()
        assert deployment.projector.stop() == 0
        for file in (deployment.folder / "data").rglob("*.duckdb*"):
            file.unlink()
        deployment.projector.start()
        await check_numbers(reader, user_id, deployment.folder, sent, platforms.min_position, **deployment.settings)


async def test_a_revocation_is_in_force_everywhere_within_a_second(deployment: Deployment) -> None:
    async with aiohttp.ClientSession() as http:
        _, reader = sandbox_reader(http, deployment.api.url, deployment.folder, **deployment.settings)
        assert await reader.status() == 200
        (token,) = command(deployment.folder, "tokens", "list", **deployment.settings)
        command(deployment.folder, "tokens", "revoke", "--jti", token["jti"], **deployment.settings)
        revoked_at = time.monotonic()
        while await reader.status() != 401:
            assert time.monotonic() - revoked_at < 1.0


async def test_while_the_projector_is_away_deliveries_are_taken_and_answers_wait(deployment: Deployment) -> None:
    sent = story(14, 200, rate=None, duplicates=0, shuffle=0)
    async with aiohttp.ClientSession() as http:
        user_id, reader = sandbox_reader(http, deployment.api.url, deployment.folder, **deployment.settings)
        before = await reader.get("overview")
        assert deployment.projector.stop() == 0
        platforms = Platforms(http, lambda: deployment.ingest.url, sent)
        await platforms.deliver()
        assert platforms.retries == 0
        assert await reader.get("overview") == before, "served from what is kept"
        await eventually(readiness(http, deployment.api), lambda told: told["status"] == "degraded")
        deployment.projector.start()
        await check_numbers(reader, user_id, deployment.folder, sent, platforms.min_position, **deployment.settings)
        await eventually(readiness(http, deployment.api), lambda told: told["status"] == "ready")


async def test_readyz_of_the_projector_tells_how_far_it_is(deployment: Deployment) -> None:
    sent = story(15, 150, rate=None, duplicates=0, shuffle=0)
    async with aiohttp.ClientSession() as http:
        platforms = Platforms(http, lambda: deployment.ingest.url, sent)
        await platforms.deliver()
        told = await eventually(
            readiness(http, deployment.projector),
            lambda told: told["status"] == "ready" and told["lag_events"] == 0,
        )
        assert told["status"] == "ready"
        assert told["rooms"] == ["projector"]
        assert told["positions"] == told["ends"]
        for partition, position in platforms.newest.items():
            assert told["positions"][partition] >= position
        assert told["lag_s"] == 0.0
        status = command(deployment.folder, "status", **deployment.settings)
        assert status["positions"] == told["positions"]
        assert {room["room"]: room["up"] for room in status["rooms"]} == dict.fromkeys(
            ("ingest", "projector", "api"), True
        )


async def test_redis_killed_in_mid_run_loses_nothing_and_shows(
    tmp_path: Path, kafka_log_url: str, redis_server: RedisServer
) -> None:
    settings = {"STREAMKIT_LOG_URL": kafka_log_url, "STREAMKIT_REDIS_URL": redis_server.url}
    sent = story(16, 600, rate=None, duplicates=0.1, shuffle=0.2)
    with running(tmp_path, settings) as deployment:
        async with aiohttp.ClientSession() as http:
            user_id, reader = sandbox_reader(http, deployment.api.url, tmp_path, **deployment.settings)
            platforms = Platforms(http, lambda: deployment.ingest.url, sent)
            delivering = asyncio.create_task(platforms.deliver())
            await platforms.reached(200)
            await asyncio.to_thread(redis_server.kill)
            await delivering
            assert platforms.retries == 0, "no delivery was refused for want of Redis"
            await check_numbers(reader, user_id, tmp_path, sent, platforms.min_position, **deployment.settings)
            for program in (deployment.ingest, deployment.api):
                told = await eventually(readiness(http, program), lambda told: told["status"] == "degraded")
                assert any("Redis" in reason for reason in told["reasons"])
            await asyncio.to_thread(redis_server.restart)
            for program in (deployment.ingest, deployment.api):
                await eventually(readiness(http, program), lambda told: told["status"] == "ready")


async def test_a_new_log_beside_an_old_redis_loses_nothing(tmp_path: Path, redis_url: str) -> None:
    """The log is flushed while Redis stays: what that Redis knows belongs to another log and does not count."""
    sent = story(17, 300, rate=None, duplicates=0, shuffle=0)
    async with aiohttp.ClientSession() as http:
        for life in ("first", "second"):
            folder = tmp_path / life
            folder.mkdir()
            with running(folder, {"STREAMKIT_REDIS_URL": redis_url}) as deployment:
                user_id, reader = sandbox_reader(http, deployment.api.url, folder, **deployment.settings)
                platforms = Platforms(http, lambda d=deployment: d.ingest.url, sent)  # type: ignore[misc]
                await platforms.deliver()
                await check_numbers(reader, user_id, folder, sent, platforms.min_position, **deployment.settings)


def test_a_room_alone_wants_the_key(tmp_path: Path) -> None:
    for room in ("ingest", "projector", "api"):
        ran = run(tmp_path, room, "--port", "0")
        assert ran.returncode == 2, ran.stderr
        assert "STREAMKIT_SECRET_KEY" in ran.stderr


def readiness(http: aiohttp.ClientSession, program: Program) -> Callable[[], Any]:
    """Asks `/readyz` with the internal token."""

    async def ask() -> Any:
        async with http.get(f"{program.url}/readyz", headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
            return await answer.json()

    return ask


async def eventually(ask: Callable[[], Any], holds: Callable[[Any], bool]) -> Any:
    """The first answer that holds; fails the test after a deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not holds(told := await ask()):
        assert time.monotonic() < deadline, told
        await asyncio.sleep(0.05)
    return told
