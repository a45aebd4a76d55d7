"""`POST /ingest/v1/events` over real HTTP: every answer, and what is on the log after it."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from ingest.first_party import BODY_MAX_BYTES
from schemas.control import BroadcasterRemoved, TokenRevoked, encode_control
from schemas.errors import LogClosed, LogUnavailable
from schemas.event import utc_now
from schemas.first_party_route import PUSH_EVENTS
from schemas.first_party_sent import MAX_EVENTS
from streamkit.credentials import read_jwt
from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import CONTROL, EVENTS, Appended, Record, partition_of
from streamkit.telemetry import REGISTRY
from tests.ingest.conftest import KEYS, OTHER_USER_ID, Answered, Ingest
from tests.samples import USER_ID
from tests.signing import KickSigner, TwitchSigner
from tests.wire import connected, parsed

PATH = PUSH_EVENTS.path
JSON = {"Content-Type": "application/json"}
PARTITION = partition_of(str(USER_ID), 4)


def spin(id_: str = "e1", result: str = "Hydrate", **fields: Any) -> dict[str, Any]:
    """The shortest event there is."""
    return {"id": id_, "type": "wheel.spun", "data": {"result": result}} | fields


class Bot:
    """A caller with its credentials."""

    def __init__(self, ingest: Ingest, headers: dict[str, str]) -> None:
        self.ingest = ingest
        self.headers = headers

    async def push(self, body: Any, **headers: str) -> Answered:
        """Send a body as JSON; bytes are sent as they are."""
        encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.ingest.post(PATH, encoded, JSON | self.headers | headers)


@pytest.fixture
async def bot(ingest: Ingest) -> Bot:
    return Bot(ingest, await ingest.issue())


def document(answer: Answered) -> Any:
    return json.loads(answer.body)


def code(answer: Answered) -> tuple[int, str]:
    """Status and machine code of a failure, which has to be in the API's envelope."""
    body = document(answer)
    assert {"ok", "error", "message", "type", "title", "status", "detail", "instance"} <= body.keys()
    assert (body["ok"], body["status"], body["instance"]) == (False, answer.status, PATH)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Streamkit-Position" not in answer.headers
    return answer.status, body["error"]


def position(answer: Answered) -> int:
    """The number of the answer's position, which has to be of the broadcaster's partition."""
    assert answer.status == 200, answer.body
    partition, _, number = answer.headers["Streamkit-Position"].partition(":")
    assert int(partition) == PARTITION
    return int(number)


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"streamkit_{name}_total", labels) or 0.0


# Taken


async def test_an_event_is_on_the_log_before_its_200(bot: Bot) -> None:
    before = (
        counted("deliveries", platform="streamkit", outcome="event"),
        counted("api_requests", route="ingest/v1/events", status="200"),
    )
    answer = await bot.push(spin(actor={"platform": "twitch", "id": "42", "name": "Viewer"}))
    assert position(answer) == 1
    body = document(answer)
    assert (body["ok"], body["version"], body["data"]) == (True, "v2", {"accepted": 1})
    assert body["broadcaster"]["user_id"] == USER_ID
    assert set(body["broadcaster"]["platforms"]) == {"kick", "twitch"}
    assert body["generated_at"].endswith("+00:00")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    (event,) = await bot.ingest.events()
    assert (event.event_id, event.type, event.platform) == (f"streamkit:{USER_ID}:e1", "wheel.spun", "twitch")
    assert (event.user_id, event.occurred_at) == (USER_ID, event.received_at)
    after = (
        counted("deliveries", platform="streamkit", outcome="event"),
        counted("api_requests", route="ingest/v1/events", status="200"),
    )
    assert after == (before[0] + 1, before[1] + 1)


async def test_five_hundred_are_one_append_in_their_order(kick_signer: KickSigner) -> None:
    log = Counting(partitions=4)
    async with served(kick_signer, log) as bot:
        answer = await bot.push([spin(str(number)) for number in range(MAX_EVENTS)])
        assert (position(answer), document(answer)["data"]) == (MAX_EVENTS, {"accepted": MAX_EVENTS})
        assert log.appends == [MAX_EVENTS]
        assert [event.event_id for event in await bot.ingest.events()] == [
            f"streamkit:{USER_ID}:{number}" for number in range(MAX_EVENTS)
        ]


async def test_a_known_event_is_accepted_with_its_position_and_not_appended(bot: Bot) -> None:
    first, second = position(await bot.push(spin("a"))), position(await bot.push(spin("b")))
    assert (first, second) == (1, 2)
    before = counted("deliveries", platform="streamkit", outcome="duplicate")
    assert position(await bot.push(spin("a", result="something else"))) == first
    assert position(await bot.push([spin("b"), spin("a")])) == second
    assert position(await bot.push([spin("c"), spin("a")])) == 3
    assert [event.event_id[-1] for event in await bot.ingest.events()] == ["a", "b", "c"]
    assert counted("deliveries", platform="streamkit", outcome="duplicate") == before + 4


async def test_of_several_under_one_id_in_a_request_the_first_stands(bot: Bot) -> None:
    answer = await bot.push([spin("a", "first"), spin("b"), spin("a", "last")])
    assert (position(answer), document(answer)["data"]) == (2, {"accepted": 3})
    data: Any = (await bot.ingest.events())[0].data
    assert data.result == "first"


async def test_one_id_of_two_broadcasters_is_two_events(bot: Bot) -> None:
    await bot.push(spin())
    other = Bot(bot.ingest, await bot.ingest.issue(OTHER_USER_ID))
    assert (await other.push(spin())).status == 200
    assert {event.event_id for event in await bot.ingest.events()} == {
        f"streamkit:{USER_ID}:e1",
        f"streamkit:{OTHER_USER_ID}:e1",
    }


async def test_credentials_may_stand_in_the_query(bot: Bot) -> None:
    query = {
        "client_id": bot.headers["X-Client-Id"],
        "client_secret": bot.headers["X-Client-Secret"],
        "jwt": bot.headers["Authorization"].removeprefix("Bearer "),
    }
    async with bot.ingest.session.post(PATH, params=query, json=spin()) as answer:
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("media", ["application/json; charset=utf-8", "application/vnd.bot+json"])
async def test_json_media_types_are_taken(bot: Bot, media: str) -> None:
    assert position(await bot.push(spin(), **{"Content-Type": media})) == 1


async def test_a_body_in_chunks_up_to_the_limit_is_taken(bot: Bot) -> None:
    body = json.dumps(spin()).encode()
    body += b" " * (BODY_MAX_BYTES - len(body))

    async def chunks() -> AsyncIterator[bytes]:
        for begin in range(0, len(body), 100_000):
            yield body[begin : begin + 100_000]

    async with bot.ingest.session.post(PATH, data=chunks(), headers=JSON | bot.headers) as answer:
        assert answer.status == 200


# Refused


@pytest.mark.parametrize("name", ["X-Client-Id", "X-Client-Secret", "Authorization"])
async def test_all_three_credentials_are_needed(bot: Bot, name: str) -> None:
    answer = await bot.push(spin(), **{name: ""})
    assert code(answer) == (401, "missing_credentials")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_the_credentials_have_to_hold(bot: Bot) -> None:
    assert code(await bot.push(spin(), **{"X-Client-Secret": "sks_wrong"})) == (401, "invalid_credentials")
    assert code(await bot.push(spin(), Authorization="Bearer nonsense")) == (401, "invalid_jwt")
    other = await bot.ingest.issue()
    assert code(await bot.push(spin(), Authorization=other["Authorization"])) == (401, "credential_mismatch")
    claims = read_jwt(bot.headers["Authorization"].removeprefix("Bearer "), KEYS)
    assert claims is not None
    revoked = TokenRevoked(at=utc_now(), jti=claims.jti)
    await bot.ingest.log.append(CONTROL, [Record(claims.jti, encode_control(revoked))])
    await bot.ingest.directory.refresh()
    assert code(await bot.push(spin())) == (401, "revoked_jwt")
    assert await bot.ingest.events() == []


async def test_the_scope_is_events_write(bot: Bot) -> None:
    reader = Bot(bot.ingest, await bot.ingest.issue(scopes=("read", "stream-info:write")))
    answer = await reader.push(b"nonsense")
    assert code(answer) == (403, "insufficient_scope")
    assert "events:write" in document(answer)["message"]


async def test_a_removed_broadcaster_pushes_nothing(bot: Bot) -> None:
    removed = BroadcasterRemoved(at=utc_now(), user_id=USER_ID)
    await bot.ingest.log.append(CONTROL, [Record(str(USER_ID), encode_control(removed))])
    await bot.ingest.directory.refresh()
    assert code(await bot.push(spin())) == (401, "invalid_credentials")


async def test_a_client_has_its_rate(unserved: Ingest) -> None:
    await unserved.start(rate_limit=1)
    bot, other = Bot(unserved, await unserved.issue()), Bot(unserved, await unserved.issue())
    first, second, third = [await bot.push(body) for body in (spin(), b"nonsense", spin("e2"))]
    assert (first.status, first.headers["RateLimit"][:12]) == (200, '"client";r=1')
    assert code(second) == (400, "malformed_body")
    assert second.headers["RateLimit"].startswith('"client";r=0')
    assert code(third) == (429, "rate_limited")
    assert int(third.headers["Retry-After"]) >= 1
    assert position(await other.push(spin())) == 1


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
async def test_other_methods_are_405(bot: Bot, method: str) -> None:
    async with bot.ingest.session.request(method, PATH) as answer:
        assert answer.status == 405
        assert answer.headers["Allow"] == "POST, OPTIONS"


async def test_a_page_of_an_allowed_origin_may_push(unserved: Ingest) -> None:
    await unserved.start(cors_origins=("https://dashboard.example",))
    bot = Bot(unserved, await unserved.issue())
    for origin, allowed in (("https://dashboard.example", True), ("https://evil.example", False)):
        async with unserved.session.options(PATH, headers={"Origin": origin}) as preflight:
            assert preflight.status == 204
            assert ("Access-Control-Allow-Methods" in preflight.headers) is allowed
        for body in (spin(), b"nonsense"):
            answer = await bot.push(body, Origin=origin)
            assert ("Access-Control-Allow-Origin" in answer.headers) is allowed
            assert answer.headers["Vary"] == "Accept-Encoding, Origin"


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/json; charset=latin1"},
        {"Content-Encoding": "gzip"},
    ],
)
async def test_another_media_type_is_415(bot: Bot, headers: dict[str, str]) -> None:
    assert code(await bot.push(spin(), **headers)) == (415, "unsupported_media_type")


async def test_a_body_over_1_mib_is_413(bot: Bot) -> None:
    for body in (b" " * (BODY_MAX_BYTES + 1), b"[" + b'{"id":1},' * 150_000 + b"{}]"):
        async with bot.ingest.session.post(PATH, data=io.BytesIO(body), headers=JSON | bot.headers) as answer:
            assert answer.status == 413
            assert (await answer.json(content_type=None))["error"] == "body_too_large"


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000])
async def test_a_body_that_is_no_json_is_400(bot: Bot, body: bytes) -> None:
    assert code(await bot.push(body)) == (400, "malformed_body")


async def test_a_body_that_is_cut_short_is_400_and_one_that_does_not_come_408(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = "".join(f"{name}: {value}\r\n" for name, value in (bot.headers | JSON).items())
    request = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{head}Content-Length: 9\r\n\r\n{{".encode()
    async with connected(bot.ingest.server.url) as (reader, writer):
        writer.write(request)
        writer.write_eof()
        assert parsed(await reader.read())[0] == 400
    monkeypatch.setattr("streamkit.request_body.BODY_TIMEOUT_S", 0.05)
    async with connected(bot.ingest.server.url) as (reader, writer):
        writer.write(request)
        status, _, body = parsed(await reader.read())
        assert (status, body["error"]) == (408, "request_timeout")


async def test_one_mistake_keeps_everything_out(bot: Bot) -> None:
    answer = await bot.push([spin("a"), spin("b", data={}), spin("c", type="wheel.stolen")])
    assert code(answer) == (422, "invalid_body")
    assert [error["path"] for error in document(answer)["errors"]] == ["$[1].data.result", "$[2].type"]
    assert await bot.ingest.events() == []
    assert bot.ingest.soft.positions == {}
    assert position(await bot.push(spin("a"))) == 1


@pytest.mark.parametrize("text", ["\0", "\ud800", "a" * 3000])
async def test_what_is_no_text_is_answered_in_the_envelope(bot: Bot, text: str) -> None:
    answer = await bot.push({text: text, **spin(id_=text)})
    assert code(answer) == (422, "invalid_body")
    assert "$.id" in [error["path"] for error in document(answer)["errors"]]


# The log


class Counting(MemoryLog):
    """Counts the records of each append to the events."""

    appends: list[int]

    def __init__(self, partitions: int) -> None:
        super().__init__(partitions=partitions)
        self.appends = []

    async def append(self, topic: str, records: Sequence[Record]) -> list[Appended]:
        if topic == EVENTS:
            self.appends.append(len(records))
        return await super().append(topic, records)


class Failing(MemoryLog):
    """Takes the first record of an append of events and then fails, while it has an `error` to fail with."""

    error: Exception | None = None

    async def append(self, topic: str, records: Sequence[Record]) -> list[Appended]:
        if topic == EVENTS and self.error is not None:
            await super().append(topic, records[:1])
            raise self.error
        return await super().append(topic, records)


class served:
    """A room on `log`, and a bot of it."""

    def __init__(self, kick_signer: KickSigner, log: MemoryLog) -> None:
        self._ingest = Ingest(kick_signer, TwitchSigner(), log)

    async def __aenter__(self) -> Bot:
        await self._ingest.register(USER_ID, "kick", "7001")
        await self._ingest.start()
        return Bot(self._ingest, await self._ingest.issue())

    async def __aexit__(self, *_: object) -> None:
        await self._ingest.close()


async def test_a_log_that_fails_midway_is_503_and_the_same_may_be_sent_again(kick_signer: KickSigner) -> None:
    log = Failing(partitions=4)
    async with served(kick_signer, log) as bot:
        log.error = LogUnavailable("The log is away.")
        answer = await bot.push([spin("a"), spin("b")])
        assert code(answer) == (503, "unavailable")
        assert answer.headers["Retry-After"] == "1"
        assert bot.ingest.room.readiness() == ["The event log did not take the last event."]
        assert bot.ingest.soft.positions == {}  # what is not known to be durable is not known
        log.error = None
        assert position(await bot.push([spin("a"), spin("b")])) == 3
        assert bot.ingest.room.readiness() == []


async def test_a_log_that_closes_is_503(kick_signer: KickSigner) -> None:
    log = Failing(partitions=4)
    async with served(kick_signer, log) as bot:
        log.error = LogClosed("The event log is closed; open it again to go on.")
        answer = await bot.push(spin())
        assert code(answer) == (503, "unavailable")
        assert answer.headers["Retry-After"] == "1"


async def test_many_callers_at_once(bot: Bot) -> None:
    answers = await asyncio.gather(
        *(bot.push([spin(f"{caller}-{number}") for number in range(20)]) for caller in range(20))
    )
    assert {position(answer) for answer in answers} <= set(range(1, 401))
    assert len(await bot.ingest.events()) == 400
