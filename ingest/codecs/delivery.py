"""What goes into a codec and what comes out of it. No I/O, no clock: the time of receipt is part of the delivery."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Literal

from msgspec import Struct

from schemas.event import Event

BroadcasterOf = Callable[[str, str], int | None]
"""(platform, the platform's broadcaster id) → our user_id, None when nobody is registered under it."""

IgnoredWhy = Literal[
    "cheer_counts_from_channel_cheer",
    "chat_notification_repeats_others",
    "shared_chat_copy",
    "outgoing_raid",
    "automatic_reward",
]


class Delivery(Struct, frozen=True, gc=False):
    """One delivery as it came: platform headers under lower-case names, the body's exact bytes, when we had it."""

    headers: Mapping[str, str]
    body: bytes
    received_at: datetime


class Ignored(Struct, frozen=True, gc=False):
    """Verified and not kept: keeping it would count a fact twice."""

    why: IgnoredWhy


class Challenge(Struct, frozen=True, gc=False):
    """Twitch asks whether the address is ours; `text` is to be answered verbatim."""

    text: str


class Parked(Struct, frozen=True, gc=False):
    """Verified, and no event (yet). `type` is the platform's word, None when unreadable; `detail` has no payload text.

    `broadcaster_id` is the platform's id of an unknown broadcaster, else None.
    """

    reason: Literal["unknown_type", "malformed", "unknown_broadcaster"]
    detail: str
    type: str | None = None
    broadcaster_id: str | None = None


Outcome = Event | Ignored | Challenge | Parked
