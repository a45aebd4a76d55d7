"""Which key Kick's signatures are checked with, and when Kick is asked for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ingest.codecs.delivery import Delivery
from ingest.kick_keys import MAX_ANSWER_BYTES, KickKeys, parse_public_key
from schemas.errors import BadSettings
from schemas.event import utc_now
from streamkit.lifecycle import serve
from tests.signing import KickSigner

BODY = b'{"any":"body"}'
PATH = "/public/v1/public-key"


class Endpoint:
    """Kick's key endpoint; `answer` makes what it says, `asked` counts."""

    def __init__(self, answer: Callable[[], web.Response]) -> None:
        self.answer = answer
        self.asked = 0
        self.url = ""
        self.gate = asyncio.Event()
        self.gate.set()

    async def handle(self, request: web.Request) -> web.Response:
        self.asked += 1
        await self.gate.wait()
        return self.answer()


def says(pem: str) -> web.Response:
    return web.json_response({"data": {"public_key": pem}, "message": "OK"})


@pytest.fixture
async def endpoint(kick_signer: KickSigner) -> AsyncIterator[Endpoint]:
    endpoint = Endpoint(lambda: says(kick_signer.public_pem))
    app = web.Application()
    app.router.add_get(PATH, endpoint.handle)
    server = await serve(app, "127.0.0.1", 0)
    endpoint.url = server.url + PATH
    yield endpoint
    await server.close()


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def delivery(signer: KickSigner) -> Delivery:
    headers = {name.lower(): value for name, value in signer.headers("channel.followed", BODY).items()}
    return Delivery(headers, BODY, utc_now())


async def test_a_new_key_is_fetched_after_a_failed_signature(endpoint: Endpoint, kick_signer: KickSigner) -> None:
    keys = KickKeys(None, endpoint.url)
    assert await keys.verify(delivery(kick_signer))
    assert await keys.verify(delivery(kick_signer))
    assert endpoint.asked == 1
    await keys.close()


async def test_a_fetched_key_outlives_a_restart_while_kick_is_away(
    endpoint: Endpoint, kick_signer: KickSigner, tmp_path: Path
) -> None:
    kept = tmp_path / "key.json"
    first = KickKeys(None, endpoint.url, kept=kept)
    assert await first.verify(delivery(kick_signer))
    await first.close()
    endpoint.answer = lambda: web.Response(status=503)
    again = KickKeys(None, endpoint.url, kept=kept)
    assert await again.verify(delivery(kick_signer))
    assert endpoint.asked == 1
    elsewhere = KickKeys(None, f"{endpoint.url}?another", kept=kept)
    assert not await elsewhere.verify(delivery(kick_signer)), "a key from another address is not Kick's"
    pinned = KickKeys(KickSigner().public_pem, endpoint.url, kept=kept)
    assert not await pinned.verify(delivery(kick_signer))
    kept.write_bytes(b"damaged")
    damaged = KickKeys(None, endpoint.url, kept=kept)
    assert not await damaged.verify(delivery(kick_signer))
    for keys in (again, elsewhere, pinned, damaged):
        await keys.close()


async def test_a_key_in_the_settings_is_never_refetched(endpoint: Endpoint, kick_signer: KickSigner) -> None:
    keys = KickKeys(KickSigner().public_pem, endpoint.url)
    assert not await keys.verify(delivery(kick_signer))
    assert endpoint.asked == 0
    await keys.close()


async def test_forged_traffic_asks_at_most_once_a_minute(endpoint: Endpoint) -> None:
    clock = Clock()
    keys = KickKeys(None, endpoint.url, monotonic=clock)
    forged = delivery(KickSigner())
    for _ in range(20):
        assert not await keys.verify(forged)
    assert endpoint.asked == 1
    clock.now += 59.9
    assert not await keys.verify(forged)
    assert endpoint.asked == 1
    clock.now += 0.1
    assert not await keys.verify(forged)
    assert endpoint.asked == 2
    await keys.close()


async def test_all_who_fail_while_it_is_fetched_wait_for_one_fetch(endpoint: Endpoint, kick_signer: KickSigner) -> None:
    endpoint.gate.clear()
    keys = KickKeys(None, endpoint.url)
    waiting = [asyncio.create_task(keys.verify(delivery(kick_signer))) for _ in range(10)]
    async with asyncio.timeout(5):
        while not endpoint.asked:
            await asyncio.sleep(0)
    endpoint.gate.set()
    assert await asyncio.gather(*waiting) == [True] * 10
    assert endpoint.asked == 1
    await keys.close()


async def test_close_ends_a_fetch_under_way(endpoint: Endpoint, kick_signer: KickSigner) -> None:
    endpoint.gate.clear()
    keys = KickKeys(None, endpoint.url)
    waiting = asyncio.create_task(keys.verify(delivery(kick_signer)))
    async with asyncio.timeout(5):
        while not endpoint.asked:
            await asyncio.sleep(0)
    await keys.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    endpoint.gate.set()


def _small_pem() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.parametrize(
    "answer",
    [
        lambda: web.Response(status=500),
        lambda: web.Response(status=302, headers={"Location": PATH}),
        lambda: web.Response(text="no json"),
        lambda: web.Response(body=b"\xff"),
        lambda: web.json_response({"data": {}, "message": "OK"}),
        lambda: says("not a key"),
        lambda: says(_small_pem()),
        lambda: web.Response(body=b'{"data":' + b" " * MAX_ANSWER_BYTES + b"{}}"),
    ],
)
async def test_an_answer_that_is_no_key_changes_nothing(
    endpoint: Endpoint, kick_signer: KickSigner, answer: Callable[[], web.Response]
) -> None:
    endpoint.answer = answer
    keys = KickKeys(None, endpoint.url)
    assert not await keys.verify(delivery(kick_signer))
    assert endpoint.asked == 1
    await keys.close()


async def test_an_endpoint_that_is_away_changes_nothing(kick_signer: KickSigner) -> None:
    keys = KickKeys(None, "http://127.0.0.1:1/")
    assert not await keys.verify(delivery(kick_signer))
    await keys.close()


def test_what_is_no_rsa_key_of_2048_bits_is_a_bad_setting() -> None:
    curve = ec.generate_private_key(ec.SECP256R1()).public_key()
    for pem in (
        "",
        "nonsense",
        json.dumps({"key": 1}),
        _small_pem(),
        curve.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
    ):
        with pytest.raises(BadSettings):
            parse_public_key(pem)
