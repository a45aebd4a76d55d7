"""The event: what the log holds, one JSON object a record, and the way up from every older version.

`decode_event` gives a typed event of the current version from the bytes of any version. The projector folds the
JSON as it lies and calls `upcast` only for records of an older version.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct

from schemas.control import AwareTime
from schemas.errors import UNREADABLE
from schemas.kinds import KIND_STRUCTS, KindData, Viewer

SCHEMA_VERSION = 2

Platform = Literal["kick", "twitch", "streamkit"]


class Event(Struct, frozen=True, kw_only=True):
    """One normalized fact about one broadcaster. Times are aware UTC, cut to microseconds.

    `event_id` is the delivery key (`kick:<message id>`), `natural_key` the second exact dedupe key or None,
    `user_id` StreamKit's own id of the broadcaster and the partition key, `actor` None when anonymous.
    """

    schema_version: int = SCHEMA_VERSION
    event_id: str
    natural_key: str | None
    type: str
    platform: Platform
    user_id: int
    actor: Viewer | None
    occurred_at: datetime
    received_at: datetime
    data: KindData


class EventHead(Struct, frozen=True, gc=False):
    """What an event's record repeats in its headers."""

    platform: str
    type: str
    event_id: str


class _Envelope(Struct, frozen=True, kw_only=True):
    event_id: str
    natural_key: str | None
    type: str
    platform: Platform
    user_id: int
    actor: Viewer | None
    occurred_at: datetime
    received_at: datetime
    data: msgspec.Raw


def _v1_to_v2(event: dict[str, Any]) -> dict[str, Any]:
    """Version 2 keeps a chat message's first word, casefolded, so that keyword entries need no text functions."""
    if event["type"] == "chat.message.sent":
        event["data"] = {**event["data"], "first_word": first_word(event["data"]["message"])}
    return event


UPCASTERS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _v1_to_v2}
"""From a version to the next one; every version below SCHEMA_VERSION has its entry."""

_encoder = msgspec.json.Encoder()
_head = msgspec.json.Decoder(EventHead)
_received = msgspec.json.Decoder(msgspec.defstruct("_Received", [("received_at", AwareTime)]))
_version = msgspec.json.Decoder(msgspec.defstruct("_Version", [("schema_version", int)]))
_envelope = msgspec.json.Decoder(_Envelope)
_data_decoders = {kind: msgspec.json.Decoder(struct) for kind, struct in KIND_STRUCTS.items()}


def first_word(text: str) -> str | None:
    """The first whitespace-separated word, casefolded; None when there is none or it is over 200 characters."""
    words = text.split(None, 1)
    if not words:
        return None
    word = words[0].casefold()
    return word if len(word) <= 200 else None


def encode_event(event: Event) -> bytes:
    """The event's JSON. Raises UnicodeEncodeError for lone surrogates, which no codec lets through."""
    return _encoder.encode(event)


def upcast(value: bytes) -> bytes:
    """The record's JSON in the current version; the same bytes when it is current already.

    Raises one of UNREADABLE (schemas/errors.py) for bytes that are no event of any known version.
    """
    version: int = _version.decode(value).schema_version  # type: ignore[attr-defined]
    if version == SCHEMA_VERSION:
        return value
    if not 1 <= version <= SCHEMA_VERSION:
        raise msgspec.ValidationError(f"schema_version {version}: this build knows 1 to {SCHEMA_VERSION}")
    event = msgspec.json.decode(value)
    try:
        for step in range(version, SCHEMA_VERSION):
            event = UPCASTERS[step](event)
    except (KeyError, TypeError, AttributeError) as error:
        raise msgspec.ValidationError(f"this is no event of schema_version {version}") from error
    event["schema_version"] = SCHEMA_VERSION
    return _encoder.encode(event)


def decode_event(value: bytes) -> Event:
    """The typed event of a record of any version. Raises as `upcast` does."""
    envelope = _envelope.decode(upcast(value))
    decoder = _data_decoders.get(envelope.type)
    if decoder is None:
        raise msgspec.ValidationError(f"unknown event type {envelope.type!r}")
    return Event(
        event_id=envelope.event_id,
        natural_key=envelope.natural_key,
        type=envelope.type,
        platform=envelope.platform,
        user_id=envelope.user_id,
        actor=envelope.actor,
        occurred_at=envelope.occurred_at,
        received_at=envelope.received_at,
        data=decoder.decode(envelope.data),  # type: ignore[arg-type]
    )


def decode_event_head(value: bytes) -> EventHead:
    """The head alone, of an event of any schema version. Raises one of UNREADABLE (schemas/errors.py)."""
    return _head.decode(value)


def received_at(value: bytes) -> datetime | None:
    """When the event of a record was received; None when it does not say."""
    try:
        received: datetime = _received.decode(value).received_at  # type: ignore[attr-defined]
    except UNREADABLE:
        return None
    return received


def utc_now() -> datetime:
    """The present, aware UTC."""
    return datetime.now(UTC)
