"""A Kafka broker that hangs: every delivery is answered 2xx soon, from the spool, and is where it belongs later."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
import pytest

from streamkit.log.kafka import KafkaLog
from streamkit.log.protocol import EVENTS
from streamkit.standby import OfLog, take_file
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
async def ingest(kick_signer: KickSigner, kafka_broker: KafkaBroker, tmp_path: Path) -> AsyncIterator[Ingest]:
    log = await KafkaLog.open(kafka_broker.bootstrap)
    file = await take_file(tmp_path, OfLog(log.log_id, log.partitions(EVENTS), "kafka://test"))
    ingest = Ingest(kick_signer, TwitchSigner(), log)
    await ingest.register(USER_ID, "kick", KICK_BROADCASTER)
    await ingest.start(standby=file, spool_max_bytes=1 << 20)
    await ingest.session.close()
    ingest.session = aiohttp.ClientSession(ingest.server.url, connector=aiohttp.TCPConnector(limit=0))
    yield ingest
    await ingest.close()
    await file.close()
    await log.close()


async def answered(ingest: Ingest, what: str) -> tuple[Answered, float]:
    """The answer to a new delivery, and how long it took in seconds."""
    type_, body = DELIVERIES[what]
    began = time.monotonic()
    answer = await ingest.post_kick(type_, body)
    return answer, time.monotonic() - began


async def test_while_the_broker_hangs_every_delivery_is_spooled_soon_and_later_all_are_there(
    ingest: Ingest, kafka_broker: KafkaBroker, caplog: pytest.LogCaptureFixture
) -> None:
    for what in DELIVERIES:
        assert (await answered(ingest, what))[0].status == 200
    kafka_broker.process.suspend()
    try:
        taken: list[tuple[Answered, float]] = []
        async with asyncio.timeout(DEADLINE_S):
            for _ in range(2):  # many at once, and again when the first are answered
                taken += await asyncio.gather(*(answered(ingest, what) for what in [*DELIVERIES] * 20))
        for answer, took_s in taken:
            assert took_s < SOON_S
            assert (answer.status, answer.headers.get("Streamkit-Position"), answer.body) == (200, None, b"")
        assert max(took_s for _, took_s in taken[60:]) < SOON_S / 4, "the second lot waits for no broker"
        (reason,) = ingest.room.readiness()
        assert reason.startswith("120 deliveries (")
        assert ingest.room.spooled() is not None
    finally:
        kafka_broker.process.resume()
    async with asyncio.timeout(DEADLINE_S):
        while ingest.room.readiness():
            await asyncio.sleep(0.05)
        answer, _ = await answered(ingest, "an event")
    assert answer.headers["Streamkit-Position"], "straight onto the log again"
    events = await ingest.events()
    assert len({event.event_id for event in events}) == 42, "the log may have some twice"
    letters = await ingest.letters()
    assert len({letter.event_id for letter in letters if letter.reason == "unknown_type"}) == 41
    assert len({letter.event_id for letter in letters if letter.reason == "unknown_broadcaster"}) == 41
    assert {letter.broadcaster_id for letter in letters if letter.reason == "unknown_broadcaster"} == {"999"}
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []
