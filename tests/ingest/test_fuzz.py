"""Mutated, forged and garbage deliveries over real HTTP: never a 5xx, and on the log only what was rightly signed.

`STREAMKIT_FUZZ` sets how many (CI: 20,000), `STREAMKIT_FUZZ_SEED` which.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from typing import Any

from msgspec import Struct

from streamkit.log.protocol import EVENTS
from tests.ingest.conftest import OTHER_USER_ID, Answered, Ingest
from tests.samples import KICK_TYPES, USER_ID, Sample, all_samples

COUNT = int(os.environ.get("STREAMKIT_FUZZ", "1500"))
SEED = int(os.environ.get("STREAMKIT_FUZZ_SEED", "1"))
CONNECTIONS = 16

SAMPLES = [*all_samples("kick"), *all_samples("twitch")]
JUNK: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1.5,
    2**53,
    2**63,
    2**64,
    10**40,
    1e308,
    "",
    " ",
    "x" * 5000,
    "\0",
    "\ud800",
    "\u202e",
    "😀" * 50,
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999999-23:59",
    "2026-13-45T99:99:99Z",
    "12111455614691086753",
    [],
    {},
    [[]],
    {"": None},
    {"user_id": -5},
)


class Shot(Struct):
    """One delivery, and whether a platform's key signed exactly it with everything required."""

    path: str
    headers: list[tuple[str, str]]
    body: bytes
    genuine: bool


def _mutate(random_: random.Random, value: Any) -> Any:
    """`value` with one thing in it replaced, removed or added."""
    if isinstance(value, dict) and value and random_.random() < 0.9:
        key = random_.choice(list(value))
        choice = random_.random()
        if choice < 0.15:
            return {other: inner for other, inner in value.items() if other != key}
        if choice < 0.25:
            return value | {random_.choice(("user_id", "Category", "event", "challenge", "x")): random_.choice(JUNK)}
        return value | {key: _mutate(random_, value[key])}
    if isinstance(value, list) and value and random_.random() < 0.7:
        at = random_.randrange(len(value))
        return [*value[:at], _mutate(random_, value[at]), *value[at + 1 :]]
    return random_.choice(JUNK)


def _body(random_: random.Random, sample: Sample) -> bytes:
    choice = random_.random()
    if choice < 0.15:
        return sample.body
    if choice < 0.7:
        document = sample.document()
        for _ in range(random_.randint(1, 3)):
            document = _mutate(random_, document)
        return json.dumps(document, ensure_ascii=random_.random() < 0.7).encode("utf-8", "surrogatepass")
    if choice < 0.85:
        body = bytearray(sample.body)
        for _ in range(random_.randint(1, 4)):
            body[random_.randrange(len(body))] = random_.randrange(256)
        return bytes(body)
    if choice < 0.9:
        return sample.body[: random_.randrange(len(sample.body))]
    if choice < 0.93:
        return random_.choice((b"[", b'{"a":', b'[{"event":')) * random_.randint(100, 20_000)
    return random_.randbytes(random_.randint(0, 300))


def _shot(random_: random.Random, ingest: Ingest) -> Shot:
    sample = random_.choice(SAMPLES)
    body = _body(random_, sample)
    message_id = f"fuzz-{random_.getrandbits(64):x}"
    if sample.platform == "kick":
        type_ = (
            sample.type if random_.random() < 0.8 else random_.choice((*KICK_TYPES, "x", "../../etc", "stream.online"))
        )
        headers = ingest.kick.headers(type_, body, message_id=message_id)
        path = "/webhooks/kick"
    else:
        kind = random_.choice(("notification",) * 6 + ("revocation", "webhook_callback_verification", "x"))
        headers = ingest.twitch.headers(sample.type, body, message_id=message_id, message_type=kind)
        path = "/webhooks/twitch"
    shot = Shot(path, list(headers.items()), body, True)
    if random_.random() < 0.4:
        _spoil(random_, shot)
    return shot


def _spoil(random_: random.Random, shot: Shot) -> None:
    """Break what makes a delivery genuine, one way or another."""
    shot.genuine = False
    signed = [name for name, _ in shot.headers if name.endswith(("Message-Id", "Timestamp", "Signature"))]
    required = [*signed, "Content-Type"]
    choice = random_.random()
    if choice < 0.35:
        name = random_.choice(signed)
        junk = random_.choice(("", "A", "sha256=00", "0" * 344, "é", "x" * 3000, "2026-03-01T12:00:00Z"))
        shot.headers = [(key, junk if key == name else value) for key, value in shot.headers]
    elif choice < 0.5:
        name = random_.choice(required)
        shot.headers = [(key, value) for key, value in shot.headers if key != name]
    elif choice < 0.6:
        name = random_.choice(signed)
        shot.headers.append((name, "again"))
    elif choice < 0.7:
        shot.headers = [(key, "text/plain" if key == "Content-Type" else value) for key, value in shot.headers]
    elif choice < 0.72:
        shot.body += b" " * 300_000
    else:
        shot.body += random_.choice((b" ", b"\0", b"{}", b"x" * 100))


async def test_fuzzed_deliveries_never_break_the_room_or_the_log(unserved: Ingest) -> None:
    ingest = unserved
    await ingest.start(dead_letter_max_bytes=1 << 30)
    random_ = random.Random(SEED)
    genuine: set[str] = set()
    at_position: dict[str, str] = {}

    shots = iter(range(COUNT))

    async def shoot() -> None:
        for _ in shots:
            shot = _shot(random_, ingest)
            event_id = _event_id(shot)
            answer = await ingest.post(shot.path, shot.body, shot.headers)
            _check(shot, answer)
            if shot.genuine:
                genuine.add(event_id)
            if (position := answer.headers.get("Streamkit-Position")) is not None:
                at_position[position] = event_id

    await asyncio.gather(*(shoot() for _ in range(CONNECTIONS)))

    events = await ingest.events()
    assert {event.event_id for event in events} <= genuine
    assert {letter.event_id for letter in await ingest.letters()} <= genuine
    assert {event.user_id for event in events} <= {USER_ID, OTHER_USER_ID}
    assert len(events) == len(at_position)
    for position, event_id in at_position.items():
        partition, _, after = position.partition(":")
        (key,) = (await ingest.log.read(EVENTS, int(partition), int(after) - 1, limit=1)).values
        assert json.loads(key)["event_id"] == event_id
    assert events, "some of it is genuine and whole"
    assert ingest.room.readiness() == []


def _event_id(shot: Shot) -> str:
    platform = shot.path.rpartition("/")[2]
    return next((f"{platform}:{value}" for name, value in shot.headers if name.endswith("Message-Id")), "")


def _check(shot: Shot, answer: Answered) -> None:
    told = f"{answer.status} {answer.body[:200]!r} to {shot.path} {shot.headers} {shot.body[:500]!r}"
    if shot.genuine:
        assert 200 <= answer.status < 300, told
    else:
        assert 400 <= answer.status < 500, told
        assert answer.headers["Content-Type"].startswith("application/json"), told
        assert "Streamkit-Position" not in answer.headers, told
