"""Scripted misbehaviour does to a request what it says, once."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from tests.fakes.faults import Answer, Drop, Hang
from tests.fakes.platforms import Platforms
from tests.streamkit.sandbox.asking import ask
from tests.streamkit.sandbox.test_helix import app_token, helix


async def test_an_answer_instead_and_then_all_is_well(platforms: Platforms) -> None:
    url = f"{platforms.kick_url}/public/v1/public-key"
    platforms.kick_faults.next("GET", "/public/v1", Answer(429, retry_after_s=7))
    platforms.kick_faults.next("GET", "/public/v1", Answer(500))
    first, second, third = [await ask("GET", url) for _ in range(3)]
    assert (first.status, first.headers["Retry-After"]) == (429, "7")
    assert first.document == {"data": {}, "message": "Too Many Requests"}
    assert (second.status, third.status) == (500, 200)
    assert platforms.kick_faults.count("GET", "/public/v1/public-key") == 3
    assert platforms.kick_faults.left == 0


async def test_only_the_request_it_is_meant_for(platforms: Platforms) -> None:
    token = await app_token(platforms)
    platforms.twitch_faults.next("PATCH", "/helix/channels", Answer(403))
    assert (await helix(platforms, "GET", "streams", token=token)).status == 200
    answer = await helix(platforms, "PATCH", "channels", token=token)
    assert answer.document == {"error": "Forbidden", "status": 403, "message": "scripted"}


@pytest.mark.parametrize("after", [False, True])
async def test_a_broken_connection_before_or_after_the_work(platforms: Platforms, after: bool) -> None:
    await app_token(platforms)
    platforms.twitch_faults.next("POST", "/oauth2/token", Drop(after=after))
    with pytest.raises(aiohttp.ClientError):
        await app_token(platforms)


async def test_an_answer_that_never_comes(platforms: Platforms) -> None:
    platforms.kick_faults.next("GET", "/public", Hang())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await ask("GET", f"{platforms.kick_url}/public/v1/public-key")
