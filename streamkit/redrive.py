"""What a dead letter is when it is looked at anew: the word between the rooms that can tell and the command that asks.

Ingest tells it of deliveries, the projector of events that it could not fold; `streamkit dead-letters redrive` appends
what they give back. What may not live here: how either of them tells.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from schemas.dead_letter import DeadLetter
from schemas.errors import ParkReason
from streamkit.log.protocol import Record


class StillDead(Struct, frozen=True):
    """It is no event yet, for the first reason that holds now; `detail` has no payload text, `broadcaster_id` is the
    platform's id of an unknown broadcaster."""

    reason: ParkReason
    detail: str
    broadcaster_id: str | None = None


Anew = Record | StillDead | None
"""A record for the events log; None where there is nothing to append: it would count a fact twice."""

LookAnew = Callable[[DeadLetter, Callable[[str, str], int | None]], Anew]
"""(the letter, (platform, the platform's broadcaster id) → user_id or None) → what it is now. Never raises."""
