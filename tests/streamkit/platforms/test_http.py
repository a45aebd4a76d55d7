"""Outgoing calls: where to, how long, how often; against a host that does as the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from schemas.errors import ForbiddenHost, PlatformAway, PlatformRefused, PlatformTimeout
from streamkit.lifecycle import serve
from streamkit.platforms import http
from streamkit.platforms.breaker import FAILURES
from streamkit.platforms.http import Outgoing
from tests.services.process import free_port

Scene = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Host:
    """Answers as `scene` does; counts."""

    def __init__(self) -> None:
        self.scene: Scene = answered(200)
        self.calls = 0
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.calls += 1
        return await self.scene(request)


def answered(*statuses: int, body: bytes = b"{}") -> Scene:
    """These statuses in turn, the last one from then on."""
    left = list(statuses)

    async def scene(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=left.pop(0) if len(left) > 1 else left[0], body=body)

    return scene


async def silent(_request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def cut_short(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "100"})
    await response.prepare(request)
    await response.write(b"only this")
    assert request.transport is not None
    request.transport.close()
    return response


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    host = Host()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", host.answer)
    server = await serve(app, "127.0.0.1", 0, grace_s=0.1)
    host.url = server.url
    yield host
    await server.close()


class Clock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def outgoing(host: Host, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Outgoing]:
    monkeypatch.setattr(http, "_PAUSE_FIRST_S", 0.0)
    outgoing = Outgoing([f"{host.url}/base"], monotonic=clock)
    yield outgoing
    await outgoing.close()
    await outgoing.close()


async def test_an_answer_whatever_its_status(host: Host, outgoing: Outgoing) -> None:
    seen: list[tuple[str, str, str]] = []

    async def scene(request: web.Request) -> web.StreamResponse:
        seen.append((request.method, request.query_string, await request.text()))
        return web.json_response({"message": "no"}, status=418, headers={"Retry-After": "7"})

    host.scene = scene
    answer = await outgoing.call("POST", f"{host.url}/x", params={"a": "b c"}, json={"d": 1})
    assert (answer.status, answer.body, answer.headers["retry-after"]) == (418, b'{"message": "no"}', "7")
    await outgoing.call("POST", f"{host.url}/x", form={"code": "1&2"})
    assert seen == [("POST", "a=b c", '{"d": 1}'), ("POST", "", "code=1%262")]


async def test_redirects_are_not_followed(host: Host, outgoing: Outgoing) -> None:
    async def scene(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": "http://127.0.0.1:1/elsewhere"})

    host.scene = scene
    assert (await outgoing.call("GET", f"{host.url}/x")).status == 302
    assert host.calls == 1


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1/x", "https://{}/x", "http://{}@evil.example/x", "http://localhost:{port}/x", "/x", "file:///etc/passwd"],
)  # fmt: skip
async def test_only_hosts_of_the_settings_are_called(host: Host, outgoing: Outgoing, url: str) -> None:
    place = host.url.removeprefix("http://")
    with pytest.raises(ForbiddenHost):
        await outgoing.call("GET", url.format(place, port=place.split(":")[1]))
    assert host.calls == 0


async def test_a_host_that_is_not_there_got_nothing(clock: Clock) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    outgoing = Outgoing([url], monotonic=clock)
    with pytest.raises(PlatformAway, match=r"127\.0\.0\.1 is not reached"):
        await outgoing.call("GET", f"{url}/x?token=secret")
    await outgoing.close()


@pytest.mark.parametrize("scene", [silent, cut_short])
async def test_no_whole_answer_in_time_leaves_the_outcome_unknown(host: Host, outgoing: Outgoing, scene: Scene) -> None:
    host.scene = scene
    with pytest.raises(PlatformTimeout):
        await outgoing.call("PATCH", f"{host.url}/x", timeout_s=0.2)
    assert host.calls == 1


async def test_an_answer_over_the_limit_is_refused(
    host: Host, outgoing: Outgoing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "MAX_ANSWER_BYTES", 1000)
    host.scene = answered(200, body=b"x" * 1001)
    with pytest.raises(PlatformRefused, match="more than 1000 bytes"):
        await outgoing.call("GET", f"{host.url}/x")


async def test_what_may_be_repeated_is(host: Host, outgoing: Outgoing) -> None:
    host.scene = answered(503, 500, 200)
    assert (await outgoing.call("GET", f"{host.url}/x", attempts=3)).status == 200
    host.scene = answered(503, 200)
    assert (await outgoing.call("POST", f"{host.url}/x")).status == 503
    host.scene = answered(404, 200)
    assert (await outgoing.call("GET", f"{host.url}/x", attempts=3)).status == 404
    assert host.calls == 5


async def test_a_host_in_trouble_is_left_alone_and_tried_again(host: Host, outgoing: Outgoing, clock: Clock) -> None:
    host.scene = answered(500)
    for _ in range(FAILURES):
        assert (await outgoing.call("GET", f"{host.url}/x")).status == 500
    for attempts in (1, 3):
        with pytest.raises(PlatformAway) as away:
            await outgoing.call("GET", f"{host.url}/x", attempts=attempts)
        assert away.value.retry_after_s == 2
    assert host.calls == FAILURES
    clock.now_s += 2.0
    host.scene = answered(200)
    assert (await outgoing.call("GET", f"{host.url}/x")).status == 200
    assert (await outgoing.call("GET", f"{host.url}/x")).status == 200


async def test_a_probe_whose_caller_goes_away_does_not_block_the_next(
    host: Host, outgoing: Outgoing, clock: Clock
) -> None:
    host.scene = answered(500)
    for _ in range(FAILURES):
        await outgoing.call("GET", f"{host.url}/x")
    clock.now_s += 2.0
    host.scene = silent
    probe = asyncio.create_task(outgoing.call("GET", f"{host.url}/x"))
    while host.calls == FAILURES:
        await asyncio.sleep(0.005)
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)
    host.scene = answered(200)
    assert (await outgoing.call("GET", f"{host.url}/x")).status == 200


async def test_retries_end_with_their_budget(host: Host, outgoing: Outgoing) -> None:
    async def flapping(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=500 if host.calls % 2 else 200)

    host.scene = flapping
    statuses = [(await outgoing.call("GET", f"{host.url}/x", attempts=2)).status for _ in range(20)]
    assert statuses[:10] == [200] * 10
    assert 500 in statuses
