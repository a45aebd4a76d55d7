"""Sample bodies of the project's own making, one file each, and the event that each is made into.

`kick/<type>[.variant].json` and `twitch/<type>.v<version>[.variant].json` are bodies, byte for byte; the tests sign them
(tests/signing.py). Beside a body that becomes an event lies `….event.json`, the record's JSON, checked by hand against
docs/webhooks.md, for a delivery with MESSAGE_ID, SENT_AT and RECEIVED_AT, and the broadcaster USER_ID.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from msgspec import Struct

FOLDER: Final = Path(__file__).parent
MESSAGE_ID: Final = "01KJMMA2G0TESTS000000000AA"
"""A ULID of SENT_AT."""
SENT_AT: Final = "2026-03-01T12:00:00Z"
RECEIVED_AT: Final = datetime(2026, 3, 1, 12, 0, 1, 250000, UTC)
USER_ID: Final = 7
KICK_BROADCASTER: Final = "7001"
TWITCH_BROADCASTER: Final = "8001"


class Sample(Struct, frozen=True):
    """A body with the type and version its delivery names; `expected` is None where no event comes of it."""

    platform: Literal["kick", "twitch"]
    name: str
    type: str
    version: str
    body: bytes
    expected: bytes | None

    def document(self) -> dict[str, Any]:
        """The body as a dict of its own, to change and to encode again."""
        document: dict[str, Any] = json.loads(self.body)
        return document


def load(platform: Literal["kick", "twitch"], name: str) -> Sample:
    """The sample `tests/samples/<platform>/<name>.json`."""
    path = FOLDER / platform / f"{name}.json"
    expected = path.with_name(f"{name}.event.json")
    if platform == "kick":
        type_, version = next(type_ for type_ in KICK_TYPES if name.startswith(type_)), "1"
    else:
        type_, _, rest = name.partition(".v")
        version = rest.partition(".")[0]
    return Sample(
        platform, name, type_, version, path.read_bytes(), expected.read_bytes() if expected.exists() else None
    )


def all_samples(platform: Literal["kick", "twitch"]) -> list[Sample]:
    """Every sample of a platform."""
    names = sorted(
        path.name.removesuffix(".json")
        for path in (FOLDER / platform).glob("*.json")
        if not path.name.endswith(".event.json")
    )
    return [load(platform, name) for name in names]


KICK_TYPES: Final = (
    "chat.message.sent",
    "channel.followed",
    "channel.subscription.new",
    "channel.subscription.renewal",
    "channel.subscription.gifts",
    "channel.reward.redemption.updated",
    "livestream.status.updated",
    "livestream.metadata.updated",
    "moderation.banned",
    "kicks.gifted",
)
