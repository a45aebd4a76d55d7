"""A connection's limits and manners: a time for the head, half-closed connections, errors in our words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from streamkit import connection
from streamkit.health import Readiness, add_health_routes
from streamkit.lifecycle import Server, serve
from tests.wire import ask, connected, one_answer, parsed

HEAD = b" HTTP/1.1\r\nHost: x\r\n"
REQUEST = b"GET /healthz" + HEAD + b"\r\n"
POST = b"POST /read" + HEAD + b"Content-Length: 10\r\n\r\n"


class _Room:
    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.release = asyncio.Event()
        self.cut_short = 0

    async def slow(self, _request: web.Request) -> web.Response:
        self.entered.set()
        await self.release.wait()
        return web.Response(text="done")

    async def broken(self, _request: web.Request) -> web.Response:
        raise KeyError("inner workings")

    async def read(self, request: web.Request) -> web.Response:
        self.entered.set()
        try:
            return web.Response(body=await request.read())
        except ConnectionResetError:
            self.cut_short += 1
            return web.Response(status=400, text="cut short")

    async def stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"a line")
        return response


async def _ready() -> Readiness:
    return Readiness()


@pytest.fixture
async def room() -> _Room:
    return _Room()


@pytest.fixture
async def server(room: _Room) -> AsyncIterator[Server]:
    app = web.Application(client_max_size=100)
    add_health_routes(app, ready=_ready, token="internal-token", rooms=("projector",))
    app.router.add_get("/slow", room.slow)
    app.router.add_get("/broken", room.broken)
    app.router.add_post("/read", room.read)
    app.router.add_get("/stream", room.stream)
    server = await serve(app, "127.0.0.1", 0, grace_s=1.0)
    yield server
    await server.close()


# A time for the head


@pytest.mark.parametrize("sent", [b"", REQUEST[:-2]], ids=["nothing", "half a head"])
async def test_a_connection_without_complete_headers_is_closed(
    server: Server, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(connection, "HEADERS_TIMEOUT_S", 0.1)
    async with connected(server.url) as (reader, writer):
        writer.write(sent)
        assert await reader.read() == b""


async def test_a_head_that_trickles_in_after_a_complete_request_is_closed_too(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEADERS_TIMEOUT_S", 0.2)
    async with connected(server.url) as (reader, writer):
        writer.write(REQUEST)
        assert (await one_answer(reader)).startswith(b"HTTP/1.1 200")
        writer.write(b"GET /heal")
        assert await reader.read() == b""


async def test_an_idle_kept_alive_connection_and_a_slow_handler_outlive_the_headers_limit(
    server: Server, room: _Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEADERS_TIMEOUT_S", 0.05)
    async with connected(server.url) as (reader, writer):
        writer.write(REQUEST.replace(b"/healthz", b"/slow"))
        await room.entered.wait()
        passed = asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, passed.set)
        await passed.wait()
        room.release.set()
        assert (await one_answer(reader)).endswith(b"done")
        passed.clear()
        asyncio.get_running_loop().call_later(0.2, passed.set)
        await passed.wait()
        writer.write(REQUEST)
        assert (await one_answer(reader)).startswith(b"HTTP/1.1 200")


# Who stops sending


@pytest.mark.parametrize(
    "sent",
    [POST + b"12345", POST, POST.replace(b"Content-Length: 10", b"Transfer-Encoding: chunked") + b"5\r\n123"],
    ids=["half a body", "no body", "half a chunk"],
)
async def test_a_body_that_ends_early_is_told_to_its_handler_which_answers(
    server: Server, room: _Room, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    assert (await ask(server.url, sent, end=True)).endswith(b"cut short")
    async with connected(server.url) as (reader, writer):  # the same, with the handler waiting already
        writer.write(sent)
        room.entered.clear()
        await room.entered.wait()
        writer.write_eof()
        assert (await reader.read()).endswith(b"cut short")
    assert room.cut_short == 2
    assert caplog.records == []


async def test_who_half_closes_gets_every_answer_and_then_the_end(server: Server, room: _Room) -> None:
    async with connected(server.url) as (reader, writer):
        writer.write(REQUEST.replace(b"/healthz", b"/slow") + REQUEST + POST + b"1234567890" + REQUEST)
        writer.write_eof()
        await room.entered.wait()
        room.release.set()
        answers = await reader.read()
    assert answers.count(b"HTTP/1.1 200 OK\r\n") == 4
    assert answers.index(b"done") < answers.index(b"1234567890")


@pytest.mark.parametrize("sent", [b"", REQUEST[:9], REQUEST], ids=["nothing", "half a head", "after an answer"])
async def test_who_half_closes_with_nothing_owed_is_hung_up_on(server: Server, sent: bytes) -> None:
    async with connected(server.url) as (reader, writer):
        writer.write(sent)
        if sent == REQUEST:
            await one_answer(reader)
        writer.write_eof()
        assert await reader.read() == b""


# Errors


@pytest.mark.parametrize(
    "sent",
    [b"GET /healthz" + HEAD + b"X-Client-Secret: " + b"hush" * 5_000 + b"\r\n\r\n", b"hush hush\r\n\r\n"],
    ids=["a header beyond the limit", "no HTTP"],
)
async def test_what_is_not_http_is_400_and_not_repeated(
    server: Server, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    answer = await ask(server.url, sent)
    assert answer.partition(b"\r\n")[0].endswith(b"400 Bad Request")
    assert b"hush" not in answer
    assert "hush" not in caplog.text


async def test_a_handler_that_fails_is_500_without_a_trace(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    status, _, body = parsed(await ask(server.url, b"GET /broken" + HEAD + b"\r\n"))
    assert (status, body["error"]) == (500, "internal_error")
    assert "inner workings" not in body["message"]
    assert [record.message for record in caplog.records] == ["handler_failed"]
