"""Short ways to write events in the specs of this folder."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.event import Event, Platform
from schemas.kinds import KIND_STRUCTS, KindData, Viewer

T0 = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
USER = 7
ANN, BOB, CY = Viewer("1", "Ann"), Viewer("2", "Bob"), Viewer("3", "Cy")

_ids: Iterator[int] = itertools.count(1)
_KIND_OF = {struct: kind for kind, struct in KIND_STRUCTS.items()}


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
    return Event(type=_KIND_OF[type(data)], platform=platform, actor=actor, data=data, **{**fields, **more})
