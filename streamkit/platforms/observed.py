"""What a poll sees of a channel, on either platform.

What may not live here: how it is asked for, and what becomes of it.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from schemas.kinds import Viewer


class Observed(Struct, frozen=True, kw_only=True):
    """A channel as the platform tells it now. `subscribers`, `gifted`: how many are active, and how many of them by a
    gift (Kick); `title`, `category_name` None: not told."""

    is_live: bool
    stream_id: str | None = None
    started_at: datetime | None = None
    title: str | None = None
    category_name: str | None = None
    viewer_count: int | None = None
    subscribers: int | None = None
    gifted: int | None = None


class Subscribers(Struct, frozen=True):
    """Who subscribes to a channel, by the platform's list. `complete`: it was read to its end."""

    viewers: tuple[Viewer, ...]
    complete: bool
