"""Short ways to write events in the specs of this folder."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.event import Event, Platform, first_word
from schemas.first_party_kinds import FirstParty
from schemas.kinds import ChatMessage, KindData, Viewer, kind_of

T0 = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
US = 0.000_001
"""Of a second."""
USER = 7
ANN, BOB, CY = Viewer("1", "Ann"), Viewer("2", "Bob"), Viewer("3", "Cy")

_ids: Iterator[int] = itertools.count(1)


def event(
    data: KindData,
    actor: Viewer | None = ANN,
    *,
    at: float = 0.0,
    platform: Platform = "kick",
    **more: Any,
) -> Event:
    """An event `at` seconds after T0, received a second later, under an id of its own."""
    occurred_at = T0 + timedelta(seconds=at)
    fields: dict[str, Any] = {
        "event_id": f"{platform}:{next(_ids):08d}",
        "natural_key": None,
        "user_id": USER,
        "occurred_at": occurred_at,
        "received_at": occurred_at + timedelta(seconds=1),
    }
    return Event(type=kind_of(data), platform=platform, actor=actor, data=data, **{**fields, **more})


def pushed(
    data: FirstParty, actor: Viewer | None = None, *, at: float = 0.0, platform: Platform = "kick", **more: Any
) -> Event:
    """A first-party event as the codec makes it: without actor it is of no platform, and its id is of the broadcaster."""
    event_id = f"streamkit:{more.get('user_id', USER)}:{next(_ids):08d}"
    platform = "streamkit" if actor is None else platform
    return event(data, actor, at=at, platform=platform, **{"event_id": event_id, **more})


def chat(text: str, actor: Viewer = ANN, *, by_broadcaster: bool = False, **more: Any) -> Event:
    """A chat message as a codec makes it."""
    message = ChatMessage(
        message_id=f"m{next(_ids)}", message=text, first_word=first_word(text), by_broadcaster=by_broadcaster
    )
    return event(message, actor, **more)


def us(at: float) -> int:
    """Epoch microseconds of `at` seconds after T0, as rows tell times."""
    return (T0 + timedelta(seconds=at) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
