"""HTTP manners: HEAD, OPTIONS, CORS, compression, rate headers, and the bytes of the quick path."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from schemas.control import BroadcasterRegistered
from streamkit import telemetry
from tests.api.house import AT, USER, House, serving

EVENT = ("chat.message.sent", "kick", "viewer", "x" * 200, 1_780_763_400_000_000, 9)


async def connect(house: House, **options: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A bare connection to the server."""
    host, port = house.server.url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port), **options)


async def raw(house: House, *requests: str, version: str = "HTTP/1.1") -> bytes:
    """Send requests down one connection at once and read until the server closes it."""
    reader, writer = await connect(house)
    headers = "".join(f"{name}: {value}\r\n" for name, value in house.triple.headers().items())
    for request in requests:
        line, _, extra = request.partition("\n")
        writer.write(f"{line} {version}\r\nHost: x\r\n{headers}{extra}\r\n".encode())
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_head_is_get_without_the_body(house: House) -> None:
    house.reads.rows["events_history"] = [EVENT] * 20
    for path in ("kicks", "events-history", "/api/public/openapi?version=v2", "kicks?limit=0"):
        await house.get(path)
        got, head = await house.get(path), await house.get(path, "HEAD")
        assert (head.status, head.body) == (got.status, b"")
        assert set(head.headers) == set(got.headers)
        assert head.headers["Content-Length"] == got.headers["Content-Length"] == str(len(got.body))


async def test_options_lists_the_methods_without_credentials(house: House) -> None:
    reply = await house.get("kicks", "OPTIONS", bare=True)
    assert (reply.status, reply.body, reply.headers["Allow"]) == (204, b"", "GET, HEAD, OPTIONS")
    assert (await house.get("stream-info", "OPTIONS", bare=True)).headers["Allow"] == "POST, OPTIONS"


async def test_a_browser_overlay_from_anywhere(house: House) -> None:
    preflight = await house.get(
        "kicks",
        "OPTIONS",
        bare=True,
        headers={
            "Origin": "https://overlay.example",
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization,x-client-id",
        },
    )
    assert preflight.status == 204
    assert preflight.headers["Access-Control-Allow-Origin"] == "*"
    assert "GET" in preflight.headers["Access-Control-Allow-Methods"]
    allowed = preflight.headers["Access-Control-Allow-Headers"].lower()
    for name in ("authorization", "x-client-id", "x-client-secret", "streamkit-min-position", "content-type"):
        assert name in allowed
    for reply in (await house.get("kicks"), await house.get("kicks", bare=True)):
        assert reply.headers["Access-Control-Allow-Origin"] == "*"
        exposed = reply.headers["Access-Control-Expose-Headers"]
        for name in ("Streamkit-Position", "RateLimit", "Age", "Retry-After"):
            assert name in exposed


async def test_only_the_origins_that_were_set() -> None:
    async with serving(House(), cors_origins=("https://a.example", "https://b.example")) as house:
        for path in ("kicks", "nothing", "/api/public/openapi"):
            let_in = await house.get(path, headers={"Origin": "https://b.example"})
            assert let_in.headers["Access-Control-Allow-Origin"] == "https://b.example"
            shut_out = await house.get(path, headers={"Origin": "https://c.example"})
            assert "Access-Control-Allow-Origin" not in shut_out.headers
            assert let_in.status == shut_out.status
            assert "Origin" in shut_out.headers["Vary"]
        preflight = await house.get("kicks", "OPTIONS", bare=True, headers={"Origin": "https://c.example"})
        assert preflight.status == 204
        assert "Access-Control-Allow-Methods" not in preflight.headers


@pytest.mark.parametrize(
    ("accept", "packed"),
    [
        ("gzip", True),
        ("deflate, gzip;q=0.5, br", True),
        ("*", True),
        ("GZIP", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("br", False),
        ("", False),
    ],
)
async def test_gzip_above_a_kibibyte_for_those_who_take_it(house: House, accept: str, packed: bool) -> None:
    house.reads.rows["events_history"] = [EVENT] * 20
    for path in ("events-history", "/api/public/openapi"):
        plain = await house.get(path, headers={"Accept-Encoding": "identity"})
        assert "Content-Encoding" not in plain.headers
        reply = await house.get(path, headers={"Accept-Encoding": accept})
        assert ("Content-Encoding" in reply.headers) == packed
        assert (gzip.decompress(reply.body) if packed else reply.body) == plain.body
        assert "Accept-Encoding" in reply.headers["Vary"]
        assert len(reply.body) == int(reply.headers["Content-Length"])
    small = await house.get("kicks", headers={"Accept-Encoding": accept})
    assert "Content-Encoding" not in small.headers


async def test_rate_headers_count_down_and_fill_up() -> None:
    async with serving(House(), rate_limit=2.0) as house:
        first = await house.get("kicks")
        assert first.headers["RateLimit-Policy"] == '"client";q=4;w=2'
        assert first.headers["RateLimit"].startswith('"client";r=3;t=')
        refused = await house.get("kicks?limit=0")
        assert refused.status == 400
        assert refused.headers["RateLimit"].startswith('"client";r=2;t=')
        other = house.issue()
        assert (await house.get("kicks", headers=other.headers())).headers["RateLimit"].startswith('"client";r=3')
        statuses = [(await house.get("kicks")).status for _ in range(4)]
        assert statuses[-1] == 429


async def test_no_rate_headers_without_a_limit(house: House) -> None:
    assert not {"RateLimit", "RateLimit-Policy"} & set((await house.get("kicks")).headers)


async def test_no_answer_names_the_software_beneath(house: House) -> None:
    for path, method in (
        ("kicks", "GET"),
        ("kicks", "HEAD"),
        ("kicks", "OPTIONS"),
        ("none", "GET"),
        ("kicks?limit=0", "GET"),
    ):
        assert (await house.get(path, method)).headers["Server"] == "StreamKit"
    assert (await house.get("/api/public/openapi")).headers["Server"] == "StreamKit"


async def test_answers_are_private(house: House) -> None:
    assert (await house.get("kicks")).headers["Cache-Control"] == "private, no-cache"


async def test_many_requests_down_one_connection_in_order(house: House) -> None:
    limits = [str(number) for number in range(1, 21)]
    answer = await raw(
        house,
        *(f"GET /api/public/v2/events-history?limit={limit}" for limit in limits),
        "GET /api/public/v2/kicks?limit=0\nConnection: close\r\n",
    )
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 20
    assert answer.count(b"HTTP/1.1 400 ") == 1
    assert [dict(q.parameters)["limit"] for _, (q,) in house.reads.asked] == list(range(2, 22))


async def test_http_1_0_and_connection_close_are_closed(house: House) -> None:
    for answer in (
        await raw(house, "GET /api/public/v2/kicks", version="HTTP/1.0"),
        await raw(house, "GET /api/public/v2/kicks\nConnection: close\r\n"),
    ):
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b" 200 OK" in head
        assert body.endswith(b"}")


async def test_the_quick_and_the_plain_path_send_the_same_headers(house: House) -> None:
    def names(answer: bytes) -> set[bytes]:
        return {line.partition(b":")[0] for line in answer.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]}

    await house.get("kicks")
    quick = await raw(house, "GET /api/public/v2/kicks", "GET /api/public/v2/kicks?limit=0\nConnection: close\r\n")
    plain = await raw(house, "GET /api/public/v2/kicks\nConnection: close\r\n")
    assert names(quick) == names(plain) - {b"Connection"}


async def test_a_client_that_does_not_read_is_waited_for(house: House) -> None:
    house.reads.rows["events_history"] = [(*EVENT[:3], "y" * 400, *EVENT[4:])] * 100
    body = (await house.get("events-history")).body
    answered = telemetry.API_REQUESTS.labels("events-history", "200")
    before = answered._value.get()
    reader, writer = await connect(house, limit=1024)
    headers = "".join(f"{name}: {value}\r\n" for name, value in house.triple.headers().items())
    request = f"GET /api/public/v2/events-history HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode()
    writer.write(request * 500)
    received = 0
    async with asyncio.timeout(20):
        while received < 500 * len(body):
            chunk = await reader.read(65536)
            if not received:
                await asyncio.wait({asyncio.create_task(house.get("kicks"))})  # the server has had its turns
                assert answered._value.get() - before < 500
            received += len(chunk)
    writer.close()
    await writer.wait_closed()


async def test_users_do_not_see_each_other(house: House) -> None:
    house.apply(BroadcasterRegistered(at=AT, user_id=9, name="Nine"))
    nine = house.issue(9)
    assert (await house.get("kicks")).json["broadcaster"]["user_id"] == USER
    assert (await house.get("kicks", headers=nine.headers())).json["broadcaster"]["user_id"] == 9
    assert [user_id for user_id, _ in house.reads.asked] == [USER, 9]
