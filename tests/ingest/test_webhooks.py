"""Both webhook addresses over real HTTP: every answer, and what is on the log after it."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest

from ingest.receive import MAX_BODY_BYTES
from schemas.errors import LogUnavailable
from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import EVENTS, Appended, Record, partition_of
from streamkit.telemetry import REGISTRY
from tests.ingest.conftest import OTHER_KICK_BROADCASTER, OTHER_USER_ID, Answered, Ingest
from tests.samples import USER_ID, Sample, all_samples, load
from tests.signing import KickSigner, TwitchSigner, rfc3339, ulid

KICK, TWITCH = "/webhooks/kick", "/webhooks/twitch"
FOLLOW = load("kick", "channel.followed").body
CHEER = load("twitch", "channel.cheer.v1").body


def problem(answer: Answered) -> str:
    """The error code of a refusal, which has to be a small JSON object."""
    body = json.loads(answer.body)
    assert body.keys() == {"ok", "error", "message"}
    assert body["ok"] is False
    assert body["message"].endswith((".", "?"))
    assert answer.headers["Content-Type"].startswith("application/json")
    assert "Streamkit-Position" not in answer.headers
    return str(body["error"])


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"streamkit_{name}_total", labels) or 0.0


def kick_headers(ingest: Ingest, body: bytes = FOLLOW, **signing: str) -> dict[str, str]:
    return ingest.kick.headers("channel.followed", body, **signing)


async def nothing_kept(ingest: Ingest) -> bool:
    return not await ingest.events() and not await ingest.letters() and not ingest.soft.positions


# The four outcomes


async def test_kick_event_is_on_the_log_before_its_200(ingest: Ingest) -> None:
    before = counted("deliveries", platform="kick", outcome="event")
    answer = await ingest.post_kick("channel.followed", FOLLOW)
    assert (answer.status, answer.body) == (200, b"")
    partition = partition_of(str(USER_ID), 4)
    assert answer.headers["Streamkit-Position"] == f"{partition}:1"
    (event,) = await ingest.events()
    assert (event.type, event.user_id) == ("channel.followed", USER_ID)
    assert counted("deliveries", platform="kick", outcome="event") == before + 1


async def test_twitch_event_is_on_the_log_before_its_204(ingest: Ingest) -> None:
    answer = await ingest.post_twitch("channel.cheer", CHEER)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["Streamkit-Position"] == f"{partition_of(str(USER_ID), 4)}:1"
    assert [event.type for event in await ingest.events()] == ["channel.cheered"]


@pytest.mark.parametrize("platform", ["kick", "twitch"])
async def test_every_sample_is_taken(ingest: Ingest, platform: Any) -> None:
    samples = [sample for sample in all_samples(platform) if ".verification" not in sample.name]
    for sample in samples:
        answer = await _deliver(ingest, sample)
        assert answer.status in (200, 204), sample.name
        assert ("Streamkit-Position" in answer.headers) == (sample.expected is not None), sample.name
    assert len(await ingest.events()) == sum(sample.expected is not None for sample in samples)
    assert await ingest.letters() == []


async def _deliver(ingest: Ingest, sample: Sample) -> Answered:
    if sample.platform == "kick":
        return await ingest.post_kick(sample.type, sample.body)
    kind = "revocation" if sample.name.endswith(".revocation") else "notification"
    return await ingest.post_twitch(sample.type, sample.body, message_type=kind)


@pytest.mark.parametrize("platform", ["kick", "twitch"])
async def test_an_answer_is_the_same_on_a_connection_that_is_to_close(ingest: Ingest, platform: str) -> None:
    """The bytes we write ourselves and the answer that aiohttp makes tell the same."""
    answers = []
    for connection in ("keep-alive", "close"):
        if platform == "kick":
            path, body, headers = "/webhooks/kick", FOLLOW, ingest.kick.headers("channel.followed", FOLLOW)
        else:
            path, body, headers = "/webhooks/twitch", CHEER, ingest.twitch.headers("channel.cheer", CHEER)
        answers.append(await ingest.post(path, body, {**headers, "Connection": connection}))
    ours, aiohttps = answers
    assert aiohttps.headers["Connection"] == "close"
    assert ours.status == aiohttps.status
    assert {*ours.headers} == {*aiohttps.headers} - {"Connection"}
    assert ours.headers["Server"] == aiohttps.headers["Server"]
    partition = partition_of(str(USER_ID), 4)
    assert [answer.headers["Streamkit-Position"] for answer in answers] == [f"{partition}:1", f"{partition}:2"]


async def test_events_of_two_broadcasters_lie_in_their_partitions(ingest: Ingest) -> None:
    other = FOLLOW.replace(b"7001", OTHER_KICK_BROADCASTER.encode())
    answers = [await ingest.post_kick("channel.followed", body) for body in (FOLLOW, other, other)]
    assert [answer.headers["Streamkit-Position"].partition(":")[0] for answer in answers] == [
        str(partition_of(str(user_id), 4)) for user_id in (USER_ID, OTHER_USER_ID, OTHER_USER_ID)
    ]


async def test_known_duplicate_gets_the_position_stored_with_its_id(ingest: Ingest) -> None:
    first = await ingest.post_kick("channel.followed", FOLLOW, message_id="one")
    await ingest.post_kick("channel.followed", FOLLOW, message_id="two")
    again = await ingest.post_kick("channel.followed", FOLLOW, message_id="one")
    assert again.status == 200
    assert again.headers["Streamkit-Position"] == first.headers["Streamkit-Position"]
    assert len(await ingest.events()) == 2


async def test_an_id_of_one_platform_is_not_one_of_the_other(ingest: Ingest) -> None:
    await ingest.post_kick("channel.followed", FOLLOW, message_id="same")
    await ingest.post_twitch("channel.cheer", CHEER, message_id="same")
    assert [event.event_id for event in await ingest.events()] == ["kick:same", "twitch:same"]


async def test_challenge_is_echoed_raw(ingest: Ingest) -> None:
    body = load("twitch", "channel.cheer.v1.verification").body
    answer = await ingest.post_twitch("channel.cheer", body, message_type="webhook_callback_verification")
    assert (answer.status, answer.body) == (200, b"pogchamp-kappa-360noscope-vohiyo")
    assert answer.headers["Content-Type"] == "text/plain"
    assert answer.headers["Content-Length"] == "32"
    assert "Streamkit-Position" not in answer.headers
    assert await nothing_kept(ingest)


async def test_ignored_is_2xx_and_leaves_nothing(ingest: Ingest) -> None:
    before = counted("deliveries", platform="twitch", outcome="ignored")
    answer = await ingest.post_twitch("channel.raid", load("twitch", "channel.raid.v1.outgoing").body)
    assert answer.status == 204
    assert "Streamkit-Position" not in answer.headers
    assert await nothing_kept(ingest)
    assert counted("deliveries", platform="twitch", outcome="ignored") == before + 1


@pytest.mark.parametrize(
    ("type_", "body", "reason"),
    [
        ("channel.brand_new", FOLLOW, "unknown_type"),
        ("kicks.gifted", FOLLOW, "malformed"),
        ("channel.followed", FOLLOW.replace(b"7001", b"424242"), "unknown_broadcaster"),
    ],
)
async def test_parked_is_2xx_and_kept_verbatim_once(ingest: Ingest, type_: str, body: bytes, reason: str) -> None:
    headers = ingest.kick.headers(type_, body)
    for _ in range(3):
        answer = await ingest.post(KICK, body, headers)
        assert answer.status == 200
        assert "Streamkit-Position" not in answer.headers
    (letter,) = await ingest.letters()
    assert (letter.reason, letter.platform, letter.type, letter.body) == (reason, "kick", type_, body)
    assert letter.event_id == f"kick:{headers['Kick-Event-Message-Id']}"
    assert letter.headers == {name.lower(): value for name, value in headers.items() if name.startswith("Kick-Event-")}
    assert letter.broadcaster_id == ("424242" if reason == "unknown_broadcaster" else None)
    assert await ingest.events() == []
    assert ingest.soft.positions == {}


async def test_a_parked_id_is_not_seen_once_the_broadcaster_is_registered(ingest: Ingest) -> None:
    body = FOLLOW.replace(b"7001", b"424242")
    headers = ingest.kick.headers("channel.followed", body)
    assert "Streamkit-Position" not in (await ingest.post(KICK, body, headers)).headers
    await ingest.register(99, "kick", "424242")
    answer = await ingest.post(KICK, body, headers)  # at once: a miss reads the control topic to its end
    assert "Streamkit-Position" in answer.headers
    assert [event.user_id for event in await ingest.events()] == [99]


async def test_metric_labels_are_known_words_only(ingest: Ingest) -> None:
    await ingest.post_kick("x" * 500, FOLLOW)
    await ingest.post_twitch("y", CHEER.replace(b'"channel.cheer"', b'"zzz.invented"'))
    texts = [str(sample) for family in REGISTRY.collect() for sample in family.samples]
    assert not [text for text in texts if "xxx" in text or "zzz" in text]


# Refusals, in their order


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "text/json", "json", "", "application/json; charset=utf-16"],
)
@pytest.mark.parametrize("path", [KICK, TWITCH])
async def test_not_json_is_415_before_anything_else(ingest: Ingest, path: str, content_type: str) -> None:
    answer = await ingest.post(path, b"x" * (MAX_BODY_BYTES + 1), {"Content-Type": content_type})
    assert (answer.status, problem(answer)) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json; charset=utf-8",
        'application/json;charset="UTF-8"',
        "Application/JSON",
        "application/cloudevents+json",
    ],
)
async def test_json_media_types_are_taken(ingest: Ingest, content_type: str) -> None:
    headers = kick_headers(ingest) | {"Content-Type": content_type}
    assert (await ingest.post(KICK, FOLLOW, headers)).status == 200


async def test_a_compressed_body_is_415(ingest: Ingest) -> None:
    answer = await ingest.post(KICK, FOLLOW, kick_headers(ingest) | {"Content-Encoding": "gzip"})
    assert (answer.status, problem(answer)) == (415, "unsupported_media_type")


@pytest.mark.parametrize("path", [KICK, TWITCH])
async def test_a_body_over_256_kib_is_413_before_its_headers_count(ingest: Ingest, path: str) -> None:
    answer = await ingest.post(path, b"x" * (MAX_BODY_BYTES + 1), {"Content-Type": "application/json"})
    assert (answer.status, problem(answer)) == (413, "body_too_large")
    assert await nothing_kept(ingest)


async def test_exactly_256_kib_are_not_too_large(ingest: Ingest) -> None:
    body = FOLLOW + b" " * (MAX_BODY_BYTES - len(FOLLOW))
    assert (await ingest.post(KICK, body, kick_headers(ingest, body))).status == 200


async def test_a_chunked_body_over_256_kib_is_413(ingest: Ingest) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b"x" * 65536

    async with ingest.session.post(KICK, data=chunks(), headers=kick_headers(ingest)) as answer:
        assert answer.status == 413


async def test_a_chunked_body_is_taken(ingest: Ingest) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for begin in range(0, len(FOLLOW), 100):
            yield FOLLOW[begin : begin + 100]

    async with ingest.session.post(KICK, data=chunks(), headers=kick_headers(ingest)) as answer:
        assert answer.status == 200
    assert len(await ingest.events()) == 1


REQUIRED = {
    KICK: ("Kick-Event-Message-Id", "Kick-Event-Message-Timestamp", "Kick-Event-Signature", "Kick-Event-Type"),
    TWITCH: (
        "Twitch-Eventsub-Message-Id",
        "Twitch-Eventsub-Message-Timestamp",
        "Twitch-Eventsub-Message-Signature",
        "Twitch-Eventsub-Message-Type",
    ),
}


def _signed(ingest: Ingest, path: str) -> tuple[dict[str, str], bytes]:
    if path == KICK:
        return kick_headers(ingest), FOLLOW
    return ingest.twitch.headers("channel.cheer", CHEER), CHEER


@pytest.mark.parametrize(("path", "name"), [(path, name) for path, names in REQUIRED.items() for name in names])
async def test_a_required_header_missing_empty_or_repeated_is_400_and_named(
    ingest: Ingest, path: str, name: str
) -> None:
    headers, body = _signed(ingest, path)
    without = {key: value for key, value in headers.items() if key != name}
    for given, error in (
        (list(without.items()), "missing_header"),
        (list((without | {name: ""}).items()), "missing_header"),
        ([*headers.items(), (name, headers[name])], "repeated_header"),
    ):
        answer = await ingest.post(path, body, given)
        assert (answer.status, problem(answer)) == (400, error)
        assert name in json.loads(answer.body)["message"]
    assert await nothing_kept(ingest)


async def test_header_names_are_case_insensitive(ingest: Ingest) -> None:
    headers = {name.upper(): value for name, value in kick_headers(ingest).items()}
    assert (await ingest.post(KICK, FOLLOW, headers)).status == 200


async def test_kick_version_may_be_absent_and_not_repeated(ingest: Ingest) -> None:
    headers = kick_headers(ingest)
    del headers["Kick-Event-Version"], headers["Kick-Event-Subscription-Id"]
    assert (await ingest.post(KICK, FOLLOW, headers)).status == 200
    repeated = [*headers.items(), ("Kick-Event-Version", "1"), ("Kick-Event-Version", "1")]
    assert (await ingest.post(KICK, FOLLOW, repeated)).status == 400


async def test_a_header_that_is_no_printable_ascii_is_400(ingest: Ingest) -> None:
    for value in ("ünï", "i" * 2049):
        answer = await ingest.post(KICK, FOLLOW, kick_headers(ingest) | {"Kick-Event-Message-Id": value})
        assert (answer.status, problem(answer)) == (400, "bad_header")


async def test_bad_signature_is_401_for_kick_and_403_for_twitch(ingest: Ingest) -> None:
    before = counted("deliveries_refused", platform="kick", reason="bad_signature")
    kick = await ingest.post(KICK, FOLLOW, KickSigner().headers("channel.followed", FOLLOW))
    twitch = await ingest.post(TWITCH, CHEER, TwitchSigner(b"another-secret").headers("channel.cheer", CHEER))
    assert (kick.status, problem(kick)) == (401, "bad_signature")
    assert (twitch.status, problem(twitch)) == (403, "bad_signature")
    assert await nothing_kept(ingest)
    assert counted("deliveries_refused", platform="kick", reason="bad_signature") == before + 1


async def test_an_altered_body_is_refused(ingest: Ingest) -> None:
    answer = await ingest.post(KICK, FOLLOW + b" ", kick_headers(ingest))
    assert answer.status == 401


@pytest.mark.parametrize("minutes", [-11, 11])
async def test_stale_twitch_message_is_403(ingest: Ingest, minutes: int) -> None:
    at = rfc3339(datetime.now(UTC) + timedelta(minutes=minutes))
    answer = await ingest.post_twitch("channel.cheer", CHEER, timestamp=at)
    assert (answer.status, problem(answer)) == (403, "stale")
    unsigned = ingest.twitch.headers("channel.cheer", CHEER, timestamp=at) | {
        "Twitch-Eventsub-Message-Signature": "sha256=00"
    }
    assert problem(await ingest.post(TWITCH, CHEER, unsigned)) == "bad_signature"
    assert await nothing_kept(ingest)


async def test_kick_delivery_that_is_hours_late_is_taken(ingest: Ingest) -> None:
    at = datetime.now(UTC) - timedelta(hours=30)
    answer = await ingest.post_kick("channel.followed", FOLLOW, timestamp=rfc3339(at), message_id=ulid(at))
    assert answer.status == 200
    (event,) = await ingest.events()
    assert event.occurred_at == at.replace(microsecond=0)


@pytest.mark.parametrize("path", [KICK, TWITCH])
async def test_other_methods_are_405(ingest: Ingest, path: str) -> None:
    async with ingest.session.get(path) as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")
        assert (await answer.json())["error"] == "method_not_allowed"


# Settings


async def test_without_secret_twitch_is_503(unserved: Ingest) -> None:
    await unserved.start(twitch_secrets=())
    answer = await unserved.post_twitch("channel.cheer", CHEER)
    assert (answer.status, problem(answer)) == (503, "unavailable")
    assert "STREAMKIT_TWITCH_WEBHOOK_SECRET" in json.loads(answer.body)["message"]
    assert "Retry-After" in answer.headers


async def test_previous_secret_is_good_during_a_rotation(unserved: Ingest) -> None:
    await unserved.start(twitch_secrets=(b"the-new-secret", unserved.twitch.secret))
    assert (await unserved.post_twitch("channel.cheer", CHEER)).status == 204


async def test_with_a_token_only_its_address_takes_deliveries(unserved: Ingest) -> None:
    await unserved.start(kick_webhook_token="s3cret/token")
    headers = kick_headers(unserved)
    for path in (KICK, f"{KICK}/", f"{KICK}/wrong", f"{KICK}/s3cret"):
        answer = await unserved.post(path, FOLLOW, headers)
        assert answer.status == 404, path
    assert await nothing_kept(unserved)
    answer = await unserved.post(f"{KICK}/s3cret%2Ftoken", FOLLOW, headers)
    assert answer.status == 200


async def test_without_a_token_there_is_nothing_below_the_address(ingest: Ingest) -> None:
    answer = await ingest.post(f"{KICK}/guess", FOLLOW, kick_headers(ingest))
    assert (answer.status, problem(answer)) == (404, "not_found")


# Bodies that do not come


async def _raw(ingest: Ingest, head: Mapping[str, str], body: bytes, *, end: bool) -> bytes:
    address = urlsplit(ingest.server.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    lines = [f"POST {KICK} HTTP/1.1", "Host: ingest", *(f"{name}: {value}" for name, value in head.items())]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    await writer.drain()
    if end:
        writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_a_body_that_does_not_come_in_time_is_408_and_the_connection_ends(unserved: Ingest) -> None:
    await unserved.start(body_timeout_s=0.05)
    head = kick_headers(unserved) | {"Content-Length": str(len(FOLLOW))}
    answer = await _raw(unserved, head, FOLLOW[:20], end=False)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"Connection: close" in answer
    assert b'"error":"request_timeout"' in answer
    assert await nothing_kept(unserved)


async def test_a_truncated_body_is_400_and_kept_nowhere(ingest: Ingest) -> None:
    before = counted("deliveries_refused", platform="kick", reason="truncated")
    head = kick_headers(ingest) | {"Content-Length": str(len(FOLLOW))}
    answer = await _raw(ingest, head, FOLLOW[:-1], end=True)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"error":"truncated"' in answer
    assert counted("deliveries_refused", platform="kick", reason="truncated") == before + 1
    assert await nothing_kept(ingest)


async def test_a_broken_chunk_is_a_4xx(ingest: Ingest) -> None:
    head = kick_headers(ingest) | {"Transfer-Encoding": "chunked"}
    answer = await _raw(ingest, head, b"zz\r\nabc\r\n", end=True)
    assert answer.partition(b"\r\n")[0].endswith(b" 400 Bad Request")
    assert await nothing_kept(ingest)


# The log


class Away(MemoryLog):
    """A log that takes events only when told to."""

    away = True

    async def append(self, topic: str, records: Any) -> list[Appended]:
        if self.away and topic == EVENTS:
            raise LogUnavailable("The log is away.", retry_after_s=3)
        return await super().append(topic, records)


async def test_log_away_is_503_and_the_id_is_not_known(kick_signer: KickSigner) -> None:
    log = Away()
    ingest = Ingest(kick_signer, TwitchSigner(), log)
    await ingest.register(USER_ID, "kick", "7001")
    await ingest.start()
    try:
        headers = kick_headers(ingest)
        answer = await ingest.post(KICK, FOLLOW, headers)
        assert (answer.status, problem(answer), answer.headers["Retry-After"]) == (503, "unavailable", "3")
        assert ingest.room.readiness() == ["The event log did not take the last event."]
        assert await nothing_kept(ingest)
        log.away = False
        assert (await ingest.post(KICK, FOLLOW, headers)).status == 200
        assert ingest.room.readiness() == []
    finally:
        await ingest.close()


async def test_records_name_platform_type_and_id(kick_signer: KickSigner) -> None:
    class Recorded(MemoryLog):
        records: list[Record]

        async def append(self, topic: str, records: Any) -> list[Appended]:
            self.records = list(records)
            return await super().append(topic, records)

    log = Recorded()
    ingest = Ingest(kick_signer, TwitchSigner(), log)
    await ingest.register(USER_ID, "kick", "7001")
    await ingest.start()
    try:
        await ingest.post_kick("channel.followed", FOLLOW, message_id="m1")
        (record,) = log.records
        assert record.key == str(USER_ID)
        assert dict(record.headers) == {"platform": "kick", "type": "channel.followed", "event_id": "kick:m1"}
    finally:
        await ingest.close()
