"""The frame around every server: a stop within its grace, start and stop in order."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import aiohttp
import pytest
from aiohttp import web

from schemas.errors import Stop
from streamkit.health import PartitionLag, Progress, Readiness, add_health_routes
from streamkit.lifecycle import COLLECT_AT, Server, Watch, run_until_signalled, serve, spare_what_stands
from tests.wire import connected, one_answer

SLOW = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"


class _Room:
    def __init__(self) -> None:
        self.readiness = Readiness()
        self.entered = asyncio.Event()
        self.release = asyncio.Event()

    async def ready(self) -> Readiness:
        return self.readiness

    async def slow(self, _request: web.Request) -> web.Response:
        self.entered.set()
        await self.release.wait()
        return web.Response(text="done")


@pytest.fixture
async def room() -> _Room:
    return _Room()


@pytest.fixture
async def server(room: _Room) -> AsyncIterator[Server]:
    app = web.Application()
    add_health_routes(app, ready=room.ready, token="internal-token", rooms=("projector",), log_id="01LOG")
    server = await serve(app, "127.0.0.1", 0, grace_s=1.0)
    yield server
    await server.close()


async def test_a_stop_lets_the_request_under_way_finish(room: _Room) -> None:
    app = web.Application()
    app.router.add_get("/slow", room.slow)
    server = await serve(app, "127.0.0.1", 0, grace_s=4.0)
    async with connected(server.url) as (reader, writer):
        writer.write(SLOW)
        await room.entered.wait()
        closing = asyncio.create_task(server.close())
        room.release.set()
        assert (await one_answer(reader)).endswith(b"done")
        await closing


async def test_a_stop_cuts_a_request_that_never_ends(room: _Room) -> None:
    app = web.Application()
    app.router.add_get("/slow", room.slow)
    server = await serve(app, "127.0.0.1", 0, grace_s=0.2)
    async with connected(server.url) as (reader, writer):
        writer.write(SLOW)
        await room.entered.wait()
        async with asyncio.timeout(3):
            await server.close()
            assert await reader.read() == b""


async def test_a_port_in_use_is_a_sentence(server: Server) -> None:
    port = int(server.url.rpartition(":")[2])
    with pytest.raises(Stop, match=f"Port {port} on 127.0.0.1 is in use") as stop:
        await serve(web.Application(), "127.0.0.1", port)
    assert stop.value.exit_code == 3


TOKEN = {"Authorization": "Bearer internal-token"}


async def test_readyz_tells_reasons_and_progress_to_the_internal_token_only(server: Server, room: _Room) -> None:
    partitions = {"0": PartitionLag(3, 5, 2, 0.5, 1, 4096)}
    room.readiness = Readiness(("Redis is away",), progress=Progress({"0": 3}, {"0": 5}, 2, 0.5, partitions))
    async with aiohttp.ClientSession(server.url) as http:
        async with http.get("/readyz") as answer:
            assert (answer.status, await answer.json()) == (200, {"status": "degraded"})
        async with http.get("/readyz", headers=TOKEN) as answer:
            assert await answer.json() == {
                "status": "degraded",
                "rooms": ["projector"],
                "log_id": "01LOG",
                "reasons": ["Redis is away"],
                "positions": {"0": 3},
                "ends": {"0": 5},
                "lag_events": 2,
                "lag_s": 0.5,
                "partitions": {
                    "0": {
                        "position": 3,
                        "end": 5,
                        "lag_events": 2,
                        "lag_s": 0.5,
                        "generation": 1,
                        "file_bytes": 4096,
                        "snapshot_made_at": None,
                    }
                },
            }
        room.readiness = Readiness(("starting",), serving=False)
        async with http.get("/readyz", headers=TOKEN) as answer:
            told = {"status": "unavailable", "rooms": ["projector"], "log_id": "01LOG", "reasons": ["starting"]}
            assert (answer.status, await answer.json()) == (503, told)


async def test_metrics_want_the_internal_token(server: Server) -> None:
    async with aiohttp.ClientSession(server.url) as http:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer \udcff"}):
            async with http.get("/metrics", headers=headers) as answer:
                assert answer.status == 401
        async with http.get("/metrics", headers=TOKEN) as answer:
            assert answer.status == 200
            assert "streamkit_deliveries" in await answer.text()


class _Order:
    def __init__(self) -> None:
        self.seen: list[str] = []

    async def start(self, stack: AsyncExitStack) -> str:
        for name in ("log", "rooms", "server"):
            self.seen.append(f"start {name}")
            stack.push_async_callback(self._stop, name)
        return "http://127.0.0.1:1"

    async def _stop(self, name: str) -> None:
        self.seen.append(f"stop {name}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_in_reverse_order(number: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    order = _Order()

    async def start(stack: AsyncExitStack) -> str:
        url = await order.start(stack)
        asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), number)
        return url

    async with asyncio.timeout(3):
        await run_until_signalled(start, print)
    assert order.seen == ["start log", "start rooms", "start server", "stop server", "stop rooms", "stop log"]
    assert capsys.readouterr().out == "http://127.0.0.1:1\n"


async def test_a_start_that_fails_closes_what_was_started() -> None:
    order = _Order()

    async def start(stack: AsyncExitStack) -> str:
        await order.start(stack)
        raise Stop("the log is away")

    with pytest.raises(Stop, match="the log is away"):
        await run_until_signalled(start, print)
    assert order.seen[-3:] == ["stop server", "stop rooms", "stop log"]


async def test_a_signal_during_the_start_ends_it(capsys: pytest.CaptureFixture[str]) -> None:
    async def start(_stack: AsyncExitStack) -> str:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()
        return "never"

    async with asyncio.timeout(3):
        await run_until_signalled(start, print)
    assert capsys.readouterr().out == ""


async def test_a_background_task_that_fails_stops_the_process() -> None:
    watch = Watch()

    async def start(stack: AsyncExitStack) -> str:
        async def follow() -> None:
            raise Stop("the control topic is gone")

        watch.start(stack, "follow", follow())
        return "http://127.0.0.1:1"

    async with asyncio.timeout(3):
        with pytest.raises(Stop, match="the control topic is gone"):
            await run_until_signalled(start, print, watch=watch)


def test_what_stands_is_out_of_the_collectors_sight() -> None:
    usual = gc.get_threshold()
    try:
        spare_what_stands()
        assert gc.get_freeze_count() > 10_000
        assert gc.get_threshold() == COLLECT_AT
    finally:
        gc.unfreeze()
        gc.set_threshold(*usual)
