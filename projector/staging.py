"""From the log's bytes to rows: one table, `recent`, that has a column for all that any read model looks at.

Python checks the envelope of each record; DuckDB parses the whole JSON, set-based. What may not live here: anything
that knows a read model.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from projector.session import Session
from schemas.bounds import MAX_MONTHS, MAX_QUANTITY
from schemas.errors import UNREADABLE
from schemas.event import SCHEMA_VERSION, Platform, upcast
from schemas.first_party_kinds import FIRST_PARTY_STRUCTS
from schemas.kinds import KIND_STRUCTS

_COLUMNS = """(
    position BIGINT, event_id VARCHAR, natural_key VARCHAR, type VARCHAR, platform VARCHAR, user_id BIGINT,
    actor_id VARCHAR, actor_name VARCHAR, occurred_at TIMESTAMPTZ, received_at TIMESTAMPTZ,
    message VARCHAR, amount BIGINT, gift_count BIGINT, months BIGINT, cumulative_months BIGINT, expires_at TIMESTAMPTZ,
    giftees STRUCT(id VARCHAR, name VARCHAR)[], is_live BOOLEAN, stream_id VARCHAR, started_at TIMESTAMPTZ,
    title VARCHAR, category_name VARCHAR, complete BOOLEAN, subscribers STRUCT(id VARCHAR, name VARCHAR)[],
    first_word VARCHAR, by_broadcaster BOOLEAN, viewer_count BIGINT, first_party VARCHAR
)"""
"""In the order of `_SHAPE`. `actor_*` null: anonymous, or nobody. `first_party`: the data of a first-party event, as JSON:
there are many kinds of them, and few events."""

TABLES = f"CREATE TABLE recent {_COLUMNS}"
"""The events since the last settling."""


class BadRecord(Exception):
    """A record that is no event. `position` says which, `detail` why, without payload text."""

    def __init__(self, position: int, detail: str) -> None:
        super().__init__(f"position {position}: {detail}")
        self.position = position
        self.detail = detail


class _Actor(Struct, frozen=True, gc=False):
    id: str
    name: str


class _Object(Struct, frozen=True, gc=False):
    """Any JSON object."""


class Head(Struct, frozen=True, gc=False):
    """The envelope, of the data no more than that it is an object: checked here, so that SQL meets well-formed events only."""

    schema_version: int
    event_id: str
    natural_key: str | None
    type: str
    platform: Platform
    user_id: Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
    actor: _Actor | None
    occurred_at: datetime
    received_at: datetime
    data: _Object


class Heads(Struct, frozen=True):
    """The heads of a batch and its records as text of the current version, in the same order."""

    heads: list[Head]
    texts: list[str]


_head = msgspec.json.Decoder(Head)
_Quantity = Annotated[int, Meta(ge=-MAX_QUANTITY, le=MAX_QUANTITY)]
"""Beyond it a sum could leave 64 bits, and then no settling would succeed any more."""


class _Amount(Struct, frozen=True, gc=False):
    amount: _Quantity


class _Gifts(Struct, frozen=True, gc=False):
    count: _Quantity
    giftees: list[_Actor] = []


class _Renewal(Struct, frozen=True, gc=False):
    months: Annotated[int, Meta(ge=0, le=MAX_MONTHS)] | None = None


class _Snapshot(Struct, frozen=True, gc=False):
    subscribers: list[_Actor] = []


class _Status(Struct, frozen=True, gc=False):
    is_live: bool
    started_at: datetime | None = None


class _Seen(_Status, frozen=True, gc=False):
    viewer_count: Annotated[int, Meta(ge=0, le=MAX_QUANTITY)] | None = None


def _event_with(data: type[Struct]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(msgspec.defstruct("_Event", [("data", data)]))


_measured = {
    "kicks.gifted": _event_with(_Amount),
    "channel.cheered": _event_with(_Amount),
    "channel.subscription.gifts": _event_with(_Gifts),
    "channel.subscription.renewal": _event_with(_Renewal),
    "channel.subscription.snapshot": _event_with(_Snapshot),
    "livestream.status.updated": _event_with(_Status),
    "livestream.snapshot": _event_with(_Seen),
    **{kind: _event_with(data) for kind, data in FIRST_PARTY_STRUCTS.items()},
}
"""The kinds of which SQL computes with more than text. It takes what does not fit for null, and what is out of bounds
would only fail when it is settled, far from here."""


def read_heads(positions: Sequence[int], values: Sequence[bytes]) -> Heads:
    """Decode every record's head, upcast the records of older versions. Raises BadRecord for the first bad one."""
    try:
        heads = [_head.decode(value) for value in values]
        for head, value in zip(heads, values, strict=True):
            if head.type in _measured:
                _measured[head.type].decode(value)
        texts = [value.decode() for value in values]
    except UNREADABLE:
        return _read_each(positions, values)
    if {head.schema_version for head in heads} <= {SCHEMA_VERSION} and {
        head.type for head in heads
    } <= KIND_STRUCTS.keys():
        return Heads(heads=heads, texts=texts)
    return _read_each(positions, values)


def _read_each(positions: Sequence[int], values: Sequence[bytes]) -> Heads:
    """One after the other, which takes longer: where some are of an older version, or bad."""
    heads: list[Head] = []
    texts: list[str] = []
    for position, value in zip(positions, values, strict=True):
        try:
            head = _head.decode(value)
            if head.schema_version != SCHEMA_VERSION:
                value = upcast(value)
                head = _head.decode(value)
            if head.type in _measured:
                _measured[head.type].decode(value)
            text = value.decode()
        except UNREADABLE as error:
            raise BadRecord(position, f"not an event: {type(error).__name__}") from error
        if head.type not in KIND_STRUCTS:
            raise BadRecord(position, "not an event: unknown type")
        heads.append(head)
        texts.append(text)
    return Heads(heads=heads, texts=texts)


_SHAPE = """{
"event_id": "VARCHAR", "natural_key": "VARCHAR", "type": "VARCHAR", "platform": "VARCHAR", "user_id": "BIGINT",
"actor": {"id": "VARCHAR", "name": "VARCHAR"}, "occurred_at": "TIMESTAMPTZ", "received_at": "TIMESTAMPTZ",
"data": {"message": "VARCHAR", "amount": "BIGINT", "count": "BIGINT", "months": "BIGINT",
"cumulative_months": "BIGINT", "expires_at": "TIMESTAMPTZ", "giftees": [{"id": "VARCHAR", "name": "VARCHAR"}],
"is_live": "BOOLEAN", "stream_id": "VARCHAR", "started_at": "TIMESTAMPTZ", "title": "VARCHAR",
"category_name": "VARCHAR", "complete": "BOOLEAN", "subscribers": [{"id": "VARCHAR", "name": "VARCHAR"}],
"first_word": "VARCHAR", "by_broadcaster": "BOOLEAN", "viewer_count": "BIGINT"}}"""

_INSERT = f"""
INSERT INTO {{table}}
SELECT position, unnest(event, max_depth := 2),
    CASE WHEN starts_with(event.event_id, 'streamkit:') THEN json_extract(value, '$.data')::VARCHAR END
FROM (
    SELECT position, value, from_json(value, '{_SHAPE.replace(chr(10), "").replace("{", "{{").replace("}", "}}")}') AS event
    FROM (SELECT unnest($1::BIGINT[]) AS position, unnest($2::VARCHAR[]) AS value)
)
"""


def append_recent(session: Session, positions: Sequence[int], texts: Sequence[str]) -> None:
    """Put the records into `recent`. Raises duckdb.Error when one of them cannot be an event."""
    session.execute(_INSERT.format(table="recent"), [list(positions), texts])


def stage(session: Session, table: str, positions: Sequence[int], texts: Sequence[str]) -> None:
    """Make `table` anew, with the columns of `recent`, and put the records into it. Raises as append_recent."""
    session.execute(f"CREATE OR REPLACE TABLE {table} {_COLUMNS}")
    if positions:
        session.execute(_INSERT.format(table=table), [list(positions), texts])
