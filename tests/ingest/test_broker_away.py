"""A Kafka broker that hangs: every delivery is answered 503 soon, whatever would become of it, and all goes on later."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator

import aiohttp
import msgspec
import pytest

from streamkit.log.kafka import KafkaLog
from tests.ingest.conftest import Answered, Ingest
from tests.samples import KICK_BROADCASTER, USER_ID
from tests.services.kafka import KafkaBroker
from tests.signing import KickSigner, TwitchSigner

SOON_S = 4.0
DEADLINE_S = 30.0


def follow_of(broadcaster_id: str) -> bytes:
    follow = {
        "broadcaster": {"user_id": int(broadcaster_id), "username": "streamer"},
        "follower": {"user_id": 5, "username": "viewer"},
    }
    return msgspec.json.encode(follow)


DELIVERIES = {
    "an event": ("channel.followed", follow_of(KICK_BROADCASTER)),
    "an unknown type": ("no.such.type", b"{}"),
    "an unknown broadcaster": ("channel.followed", follow_of("999")),
}


@pytest.fixture
async def ingest(kick_signer: KickSigner, kafka_broker: KafkaBroker) -> AsyncIterator[Ingest]:
    log = await KafkaLog.open(kafka_broker.bootstrap)
    ingest = Ingest(kick_signer, TwitchSigner(), log)
    await ingest.register(USER_ID, "kick", KICK_BROADCASTER)
    await ingest.start()
    await ingest.session.close()
    ingest.session = aiohttp.ClientSession(ingest.server.url, connector=aiohttp.TCPConnector(limit=0))
    yield ingest
    await ingest.close()
    await log.close()


async def answered(ingest: Ingest, what: str) -> tuple[Answered, float]:
    """The answer to a new delivery, and how long it took in seconds."""
    type_, body = DELIVERIES[what]
    began = time.monotonic()
    answer = await ingest.post_kick(type_, body)
    return answer, time.monotonic() - began


async def test_while_the_broker_hangs_every_delivery_is_503_soon_and_later_all_are_taken(
    ingest: Ingest, kafka_broker: KafkaBroker, caplog: pytest.LogCaptureFixture
) -> None:
    for what in DELIVERIES:
        assert (await answered(ingest, what))[0].status == 200
    kafka_broker.process.suspend()
    try:
        refused: list[tuple[Answered, float]] = []
        async with asyncio.timeout(DEADLINE_S):
            for _ in range(2):  # many at once, and again when the first are answered
                refused += await asyncio.gather(*(answered(ingest, what) for what in [*DELIVERIES] * 20))
        for answer, took_s in refused:
            assert took_s < SOON_S
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
            body = msgspec.json.decode(answer.body)
            assert (body["ok"], body["error"]) == (False, "unavailable")
        assert ingest.room.readiness() == ["The event log did not take the last event."]
    finally:
        kafka_broker.process.resume()
    async with asyncio.timeout(DEADLINE_S):
        for what in DELIVERIES:
            while (await answered(ingest, what))[0].status != 200:
                await asyncio.sleep(0.05)
    assert ingest.room.readiness() == []
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []
