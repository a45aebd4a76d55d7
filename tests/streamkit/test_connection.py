"""A connection's limits and manners: a time for the head, half-closed connections, failures in our own words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from schemas.problems import PROBLEMS
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
    add_health_routes(app, ready=_ready, token="internal-token", rooms=("projector",), log_id="01LOG")
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


# Failures in our own words


@pytest.mark.parametrize(
    ("sent", "code", "instance"),
    [
        (b"GET /nope?jwt=hush" + HEAD + b"\r\n", "not_found", "/nope"),
        (b"OPTIONS *" + HEAD + b"\r\n", "not_found", "*"),
        (b"DELETE /healthz" + HEAD + b"\r\n", "method_not_allowed", "/healthz"),
        (b"GET /healthz" + HEAD + b"Expect: hush\r\n\r\n", "expectation_failed", "/healthz"),
        (b"GET /nope" + HEAD + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "not_found", "/nope"),
        (b"GET /healthz" + HEAD + b"X-Client-Secret: " + b"hush" * 5_000 + b"\r\n\r\n", "bad_request", "/"),
        (b"GET /" + b"hush" * 5_000 + HEAD + b"\r\n", "bad_request", "/"),
        (b"GET /healthz" + HEAD + b"X: hush\r\n" * 200 + b"\r\n", "bad_request", "/"),
        (b"hush hush\r\n\r\n", "bad_request", "/"),
        (b"HUSH /healthz" + HEAD + b"\r\n", "not_implemented", "/"),
        (b"GETHUSH /healthz" + HEAD + b"\r\n", "not_implemented", "/"),
        (b"CONNECT example.com:80" + HEAD + b"\r\n", "not_implemented", ""),
        (b"GET / HTTP/9.9\r\nHost: hush\r\n\r\n", "bad_request", "/"),
        (b"GET /broken" + HEAD + b"\r\n", "internal_error", "/broken"),
    ],
)
async def test_what_no_handler_answers_is_the_apis_failure(
    server: Server, caplog: pytest.LogCaptureFixture, sent: bytes, code: str, instance: str
) -> None:
    answer = await ask(server.url, sent)
    status, headers, body = parsed(answer)
    kind = PROBLEMS[code]
    message = body["message"]
    assert status == kind.status
    assert body == {
        "ok": False,
        "error": code,
        "message": message,
        "type": f"urn:streamkit:problem:{code}",
        "title": kind.title,
        "status": status,
        "detail": message,
        "instance": instance,
    }
    assert (headers["content-type"], headers["server"]) == ("application/problem+json", "StreamKit")
    assert headers.get("allow") == ("GET, HEAD" if status == 405 else None)
    assert b"hush" not in answer
    assert b"inner workings" not in answer
    assert "hush" not in caplog.text
    assert [record.message for record in caplog.records] == (["handler_failed"] if status == 500 else [])


async def test_a_body_beyond_what_the_room_takes_is_413(server: Server) -> None:
    sent = POST.replace(b"Content-Length: 10", b"Content-Length: 101") + b"x" * 101
    status, _, body = parsed(await ask(server.url, sent))
    assert (status, body["error"]) == (413, "body_too_large")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/nope", "/stream", "/broken"])
async def test_every_answer_names_the_same_server(server: Server, path: str) -> None:
    async with aiohttp.ClientSession(server.url) as http, http.get(path) as answer:
        assert answer.headers.getall("Server") == ["StreamKit"]
