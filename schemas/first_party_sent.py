"""What `POST /ingest/v1/events` takes: one struct for each kind of event, and the body made of them.

Made from the kinds, so that a kind that is added there is taken here; unlike there, a field that is not known is
refused. The OpenAPI document is made from these structs. What a schema cannot say (the time's window, an amount that
is not zero, the bounds of further settings) is checked by the codec.
"""

from __future__ import annotations

import inspect
from typing import Annotated, Any, Union

import msgspec
from msgspec import Meta, Struct

from schemas.first_party_kinds import (
    FIRST_PARTY_STRUCTS,
    FirstPartyData,
    GiveawayDrawn,
    GiveawayOpened,
    Identifier,
    Keyword,
    SongQueueCleared,
    Title,
    ViewerName,
    ViewerPlatform,
    Winner,
)

MAX_EVENTS = 500
"""In one request."""

BY_SOMEBODY = frozenset({"song.requested", "giveaway.entered", "gamble.played", "coins.adjusted"})
"""The kinds that are nothing without their actor: the requester, entrant, player or viewer."""

EventId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=128,
        pattern=r"^[ -~]+(?![\s\S])",
        description="The caller's own id, unique for good: what is sent again under it changes nothing.",
        examples=["request-1"],
    ),
]
OccurredAt = Annotated[
    str,
    Meta(
        max_length=64,
        description="RFC 3339 with an offset, at most 30 days back and 5 minutes ahead. Left out: now.",
        extra_json_schema={"format": "date-time"},
    ),
]


class Actor(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose doing it is: a viewer of a platform, by the platform's user id."""

    platform: ViewerPlatform
    id: Identifier
    name: ViewerName


class Sent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every event has beside its `type`."""

    id: EventId
    occurred_at: OccurredAt | None = None
    actor: Actor | None = None
    data: Any = None


class SentSettings(Struct, frozen=True):
    """The data of `giveaway.opened`; any further settings are kept as they are."""

    giveaway_id: Identifier
    title: Title
    keyword: Keyword | None = None


class Accepted(Struct, frozen=True):
    """How many events of the request the log has now, known ones included."""

    accepted: Annotated[int, Meta(ge=1, le=MAX_EVENTS)]


def _strict(struct: type[Struct], *overrides: tuple[str, Any]) -> type[Struct]:
    """The same struct, refusing fields that it does not have."""
    return msgspec.defstruct(
        struct.__name__,
        overrides,
        bases=(struct,),
        namespace={"__doc__": inspect.getdoc(struct)},
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )


def _open(struct: type[Struct]) -> Any:
    """A JSON object that has the struct's fields and may have any others."""
    name = struct.__name__
    schema = msgspec.json.schema(struct)["$defs"][name]
    return Annotated[dict[str, Any], Meta(extra_json_schema={**schema, "additionalProperties": True})]


def _data(struct: type[FirstPartyData]) -> Any:
    if struct is GiveawayOpened:
        return _open(SentSettings)
    if struct is GiveawayDrawn:
        return _strict(struct, ("winner", _strict(Winner)))
    return _strict(struct)


def _sent(kind: str, struct: type[FirstPartyData]) -> type[Struct]:
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = [("data", _data(struct))]
    if struct is SongQueueCleared:  # it has none
        fields = [("data", fields[0][1] | None, None)]
    if kind in BY_SOMEBODY:
        fields.append(("actor", Actor))
    return msgspec.defstruct(
        f"{struct.__name__}Event",
        fields,
        bases=(Sent,),
        namespace={"__doc__": f"`{kind}`."},
        tag_field="type",
        tag=kind,
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )


SENT: dict[str, type[Struct]] = {kind: _sent(kind, struct) for kind, struct in FIRST_PARTY_STRUCTS.items()}
"""By type."""

_One: Any = Union[tuple(SENT.values())]  # noqa: UP007
Body: Any = _One | Annotated[list[_One], Meta(min_length=1, max_length=MAX_EVENTS)]
"""One event, or an array of them."""
