"""`POST stream-info`: key and body are checked in order; here no platform can be written to (test_changing.py)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from api.stream_info import BODY_MAX_BYTES
from tests.api.house import House, Reply, serving

JSON = {"Content-Type": "application/json"}
CHANGE = b'{"title":"Just Chatting with chat","category":"Just Chatting"}'


async def post(house: House, body: Any = CHANGE, **headers: str) -> Reply:
    """Send a body as JSON, unless told otherwise."""
    return await house.get("stream-info", "POST", data=body, headers=JSON | headers)


def code(reply: Reply) -> tuple[int, str]:
    """Status and machine code."""
    return reply.status, reply.json["error"]


@pytest.mark.parametrize("body", [CHANGE, b'{"title":"x"}', b'{"category":"x"}', ' {"title":"Žluťoučký"}'.encode()])
@pytest.mark.parametrize("media", ["application/json", "application/json; charset=utf-8", "application/vnd.x+json"])
async def test_a_good_body_finds_no_platform(house: House, body: bytes, media: str) -> None:
    reply = await post(house, body, **{"Content-Type": media})
    assert code(reply) == (409, "no_connected_platform")


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", "application/octet-stream", "x"])
async def test_another_media_type(house: House, media: str) -> None:
    assert code(await post(house, CHANGE, **{"Content-Type": media})) == (415, "unsupported_media_type")


async def test_a_compressed_body(house: House) -> None:
    assert code(await post(house, CHANGE, **{"Content-Encoding": "gzip"})) == (415, "unsupported_media_type")


@pytest.mark.parametrize("body", [b"", b"{", b"nonsense", b'{"title":"\xff"}', b"[" * 60_000, b'{"title":"x"}}'])
async def test_a_body_that_is_not_json(house: House, body: bytes) -> None:
    assert code(await post(house, body)) == (400, "malformed_body")


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        (b"[]", ["$"]),
        (b"null", ["$"]),
        (b"{}", ["$"]),
        (b'{"title":1,"category":null}', ["$.title", "$.category"]),
        (b'{"title":""}', ["$.title"]),
        (b'{"title":"x","tags":[]}', ["$.tags"]),
        (b'{"title":"' + b"x" * 501 + b'"}', ["$.title"]),
    ],
)
async def test_a_body_of_the_wrong_shape(house: House, body: bytes, paths: list[str]) -> None:
    reply = await post(house, body)
    assert code(reply) == (422, "invalid_body")
    assert [error["path"] for error in reply.json["errors"]] == paths
    assert all(error["message"] for error in reply.json["errors"])


async def test_a_body_that_is_too_large(house: House) -> None:
    assert code(await post(house, b" " * (BODY_MAX_BYTES + 1))) == (413, "body_too_large")

    async def chunks() -> Any:
        for _ in range(80):
            yield b" " * 1024

    assert code(await post(house, chunks())) == (413, "body_too_large")


async def test_a_body_that_does_not_come(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamkit.request_body.BODY_TIMEOUT_S", 0.05)
    host, port = house.server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    headers = "".join(f"{name}: {value}\r\n" for name, value in (house.triple.headers() | JSON).items())
    writer.write(
        f"POST /api/public/v2/stream-info HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: 9\r\n\r\n{{".encode()
    )
    async with asyncio.timeout(10):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"request_timeout" in answer
    writer.close()
    await writer.wait_closed()


async def test_rate_headers_are_on_its_refusals() -> None:
    async with serving(House(), rate_limit=5) as house:
        assert (await post(house)).headers["RateLimit"].startswith('"client";r=9')


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "žluť"])
async def test_a_key_that_is_none(house: House, key: str) -> None:
    assert code(await post(house, CHANGE, **{"Idempotency-Key": key})) == (400, "invalid_parameter")


@pytest.mark.parametrize("key", ["k", "x" * 255, "a key with spaces", "8e03978e-40d5-43e8-bc93-6894a57f9324"])
async def test_a_good_key(house: House, key: str) -> None:
    assert code(await post(house, CHANGE, **{"Idempotency-Key": key})) == (409, "no_connected_platform")
