"""What a body says, and how it becomes an event once we know whose it is."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct

from ingest.codecs.delivery import BroadcasterOf, Delivery, Parked
from schemas.event import Event
from schemas.kinds import KindData, Viewer, kind_of


class Fact(Struct, frozen=True, gc=False):
    """What a body says about the channel `broadcaster_id` of its platform.

    `actor` None: anonymous or nobody. `natural_key` None: the delivery key alone tells duplicates. The canonical type
    is that of `data`.
    """

    broadcaster_id: str
    actor: Viewer | None
    occurred_at: datetime
    natural_key: str | None
    data: KindData


def to_event(
    fact: Fact,
    delivery: Delivery,
    platform: Literal["kick", "twitch"],
    message_id: str,
    type_: str,
    broadcaster_of: BroadcasterOf,
) -> Event | Parked:
    """The event, or Parked as `unknown_broadcaster`; `type_` is the platform's word for it."""
    user_id = broadcaster_of(platform, fact.broadcaster_id)
    if user_id is None:
        return Parked(
            "unknown_broadcaster",
            "no account has this channel connected",
            type_,
            broadcaster_id=fact.broadcaster_id,
        )
    return Event(
        event_id=f"{platform}:{message_id}",
        natural_key=fact.natural_key,
        type=kind_of(fact.data),
        platform=platform,
        user_id=user_id,
        actor=fact.actor,
        occurred_at=fact.occurred_at,
        received_at=delivery.received_at,
        data=fact.data,
    )
