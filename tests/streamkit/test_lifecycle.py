"""The frame around every server: limits on connections, a stop within its grace, start and stop in order."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress

import aiohttp
import pytest
from aiohttp import web

from schemas.errors import Stop
from streamkit import lifecycle
from streamkit.health import Progress, Readiness, add_health_routes
from streamkit.lifecycle import Server, Watch, run_until_signalled, serve

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


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

    async def broken(self, _request: web.Request) -> web.Response:
        raise KeyError("inner workings")


@pytest.fixture
async def room() -> _Room:
    return _Room()


@pytest.fixture
async def server(room: _Room) -> AsyncIterator[Server]:
    app = web.Application()
    add_health_routes(app, ready=room.ready, token="internal-token", rooms=("projector",))
    app.router.add_get("/slow", room.slow)
    app.router.add_get("/broken", room.broken)
    server = await serve(app, "127.0.0.1", 0, grace_s=1.0)
    yield server
    await server.close()


async def _connect(server: Server) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def _answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return head + await reader.readexactly(length)


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"], ids=["nothing", "half a head"])
async def test_a_connection_without_complete_headers_is_closed(
    server: Server, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(lifecycle, "HEADERS_TIMEOUT_S", 0.1)
    reader, writer = await _connect(server)
    writer.write(sent)
    async with asyncio.timeout(3):
        assert await reader.read() == b""
    await _hang_up(writer)


async def test_a_head_that_trickles_in_after_a_complete_request_is_closed_too(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "HEADERS_TIMEOUT_S", 0.2)
    reader, writer = await _connect(server)
    writer.write(REQUEST)
    assert (await _answer(reader)).startswith(b"HTTP/1.1 200")
    writer.write(b"GET /heal")
    async with asyncio.timeout(3):
        assert await reader.read() == b""
    await _hang_up(writer)


async def test_an_idle_kept_alive_connection_and_a_slow_handler_outlive_the_headers_limit(
    server: Server, room: _Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "HEADERS_TIMEOUT_S", 0.05)
    reader, writer = await _connect(server)
    writer.write(REQUEST.replace(b"/healthz", b"/slow"))
    await room.entered.wait()
    passed = asyncio.Event()
    asyncio.get_running_loop().call_later(0.2, passed.set)
    await passed.wait()
    room.release.set()
    assert (await _answer(reader)).endswith(b"done")
    passed.clear()
    asyncio.get_running_loop().call_later(0.2, passed.set)
    await passed.wait()
    writer.write(REQUEST)
    assert (await _answer(reader)).startswith(b"HTTP/1.1 200")
    await _hang_up(writer)


@pytest.mark.parametrize(
    "sent",
    [b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Client-Secret: " + b"hush" * 5_000 + b"\r\n\r\n", b"hush hush\r\n\r\n"],
    ids=["a header beyond the limit", "no HTTP"],
)
async def test_what_is_not_http_is_400_and_not_repeated(
    server: Server, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    reader, writer = await _connect(server)
    writer.write(sent)
    answer = await _answer(reader)
    assert answer.partition(b"\r\n")[0].endswith(b"400 Bad Request")
    assert b"hush" not in answer
    assert "hush" not in caplog.text
    await _hang_up(writer)


async def test_a_handler_that_fails_is_500_without_a_trace(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    async with aiohttp.ClientSession(server.url) as http, http.get("/broken") as answer:
        assert answer.status == 500
        assert (await answer.json())["error"] == "internal_error"
        assert "inner workings" not in await answer.text()
    assert [record.message for record in caplog.records] == ["handler_failed"]


async def test_a_stop_lets_the_request_under_way_finish(room: _Room) -> None:
    app = web.Application()
    app.router.add_get("/slow", room.slow)
    server = await serve(app, "127.0.0.1", 0, grace_s=4.0)
    reader, writer = await _connect(server)
    writer.write(REQUEST.replace(b"/healthz", b"/slow"))
    await room.entered.wait()
    closing = asyncio.create_task(server.close())
    room.release.set()
    assert (await _answer(reader)).endswith(b"done")
    await closing
    await _hang_up(writer)


async def test_a_stop_cuts_a_request_that_never_ends(room: _Room) -> None:
    app = web.Application()
    app.router.add_get("/slow", room.slow)
    server = await serve(app, "127.0.0.1", 0, grace_s=0.2)
    reader, writer = await _connect(server)
    writer.write(REQUEST.replace(b"/healthz", b"/slow"))
    await room.entered.wait()
    async with asyncio.timeout(3):
        await server.close()
        assert await reader.read() == b""
    await _hang_up(writer)


async def test_a_port_in_use_is_a_sentence(server: Server) -> None:
    port = int(server.url.rpartition(":")[2])
    with pytest.raises(Stop, match=f"Port {port} on 127.0.0.1 is in use") as stop:
        await serve(web.Application(), "127.0.0.1", port)
    assert stop.value.exit_code == 3


TOKEN = {"Authorization": "Bearer internal-token"}


async def test_readyz_tells_reasons_and_progress_to_the_internal_token_only(server: Server, room: _Room) -> None:
    room.readiness = Readiness(("Redis is away",), progress=Progress({"0": 3}, {"0": 5}, 2, 0.5))
    async with aiohttp.ClientSession(server.url) as http:
        async with http.get("/readyz") as answer:
            assert (answer.status, await answer.json()) == (200, {"status": "degraded"})
        async with http.get("/readyz", headers=TOKEN) as answer:
            assert await answer.json() == {
                "status": "degraded",
                "rooms": ["projector"],
                "reasons": ["Redis is away"],
                "positions": {"0": 3},
                "ends": {"0": 5},
                "lag_events": 2,
                "lag_s": 0.5,
            }
        room.readiness = Readiness(("starting",), serving=False)
        async with http.get("/readyz", headers=TOKEN) as answer:
            told = {"status": "unavailable", "rooms": ["projector"], "reasons": ["starting"]}
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
        await run_until_signalled(start)
    assert order.seen == ["start log", "start rooms", "start server", "stop server", "stop rooms", "stop log"]
    assert capsys.readouterr().out == "ready http://127.0.0.1:1\n"


async def test_a_start_that_fails_closes_what_was_started() -> None:
    order = _Order()

    async def start(stack: AsyncExitStack) -> str:
        await order.start(stack)
        raise Stop("the log is away")

    with pytest.raises(Stop, match="the log is away"):
        await run_until_signalled(start)
    assert order.seen[-3:] == ["stop server", "stop rooms", "stop log"]


async def test_a_signal_during_the_start_ends_it(capsys: pytest.CaptureFixture[str]) -> None:
    async def start(_stack: AsyncExitStack) -> str:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()
        return "never"

    async with asyncio.timeout(3):
        await run_until_signalled(start)
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
            await run_until_signalled(start, watch=watch)
