"""What the oracle's parts share: standing events and who is who."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from schemas.event import Event

ViewerKey = tuple[str, str]
"""A viewer: (platform, platform user id)."""


class Standing(NamedTuple):
    """An event that no earlier one displaced, and its place in the log."""

    position: int
    event: Event


Log = Sequence[Standing]
"""One broadcaster's standing events, in log order."""


def place(event: Event) -> tuple[datetime, str]:
    """Where the event stands among those of one entity."""
    return event.occurred_at, event.event_id


def viewer_of(event: Event) -> ViewerKey | None:
    """Who did it; None when nobody says."""
    return (event.platform, event.actor.id) if event.actor is not None else None


def name_of(event: Event) -> str | None:
    """The actor's name as the event shows it."""
    return event.actor.name if event.actor is not None else None
