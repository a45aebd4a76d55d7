"""From the log's bytes to rows: one table, `recent`, that has a column for all that any read model looks at.

Python checks the envelope of each record; DuckDB parses the whole JSON, set-based. What may not live here: anything
that knows a read model.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import duckdb
import msgspec
from msgspec import Struct

from schemas.event import SCHEMA_VERSION, Platform, upcast
from schemas.kinds import KIND_STRUCTS

TABLES = """
CREATE TABLE recent (
    position BIGINT, event_id VARCHAR, natural_key VARCHAR, type VARCHAR, platform VARCHAR, user_id BIGINT,
    actor_id VARCHAR, actor_name VARCHAR, occurred_at TIMESTAMPTZ, received_at TIMESTAMPTZ,
    message VARCHAR, amount BIGINT, gift_count BIGINT, months BIGINT, cumulative_months BIGINT, expires_at TIMESTAMPTZ,
    giftees STRUCT(id VARCHAR, name VARCHAR)[], is_live BOOLEAN, stream_id VARCHAR, started_at TIMESTAMPTZ,
    title VARCHAR, category_name VARCHAR, complete BOOLEAN, subscribers STRUCT(id VARCHAR, name VARCHAR)[]
);
"""
"""The events since the last settling. `actor_*` null: anonymous, or nobody."""


class BadRecord(Exception):
    """A record that is no event. `position` says which, `detail` why, without payload text."""

    def __init__(self, position: int, detail: str) -> None:
        super().__init__(f"position {position}: {detail}")
        self.position = position
        self.detail = detail


class _Actor(Struct, frozen=True):
    id: str
    name: str


class Head(Struct, frozen=True):
    """The envelope, without the data: checked here, so that SQL meets well-formed events only."""

    schema_version: int
    event_id: str
    natural_key: str | None
    type: str
    platform: Platform
    user_id: int
    actor: _Actor | None
    occurred_at: datetime
    received_at: datetime


class Heads(Struct, frozen=True):
    """The heads of a batch and its records as text of the current version, in the same order."""

    heads: list[Head]
    texts: list[str]


_head = msgspec.json.Decoder(Head)


def read_heads(positions: Sequence[int], values: Sequence[bytes]) -> Heads:
    """Decode every record's head, upcast the records of older versions. Raises BadRecord for the first bad one."""
    heads: list[Head] = []
    texts: list[str] = []
    for position, value in zip(positions, values, strict=True):
        try:
            head = _head.decode(value)
            if head.schema_version != SCHEMA_VERSION:
                value = upcast(value)
                head = _head.decode(value)
            text = value.decode()
        except (msgspec.MsgspecError, KeyError, TypeError, UnicodeError) as error:
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
"category_name": "VARCHAR", "complete": "BOOLEAN", "subscribers": [{"id": "VARCHAR", "name": "VARCHAR"}]}}"""

_ROWS = f"""
SELECT
    position, event.event_id, event.natural_key,
    CASE WHEN event.type = 'chat.message.sent' OR (
            (event.data.amount IS NOT NULL OR event.type NOT IN ('kicks.gifted', 'channel.cheered'))
            AND (event.data.count IS NOT NULL OR event.type <> 'channel.subscription.gifts')
            AND (event.data.is_live IS NOT NULL OR event.type <> 'livestream.status.updated'))
        THEN event.type ELSE error('a quantity is missing') END AS type,
    event.platform, event.user_id, event.actor.id AS actor_id, event.actor.name AS actor_name,
    event.occurred_at, event.received_at,
    event.data.message, event.data.amount, event.data.count AS gift_count, event.data.months,
    event.data.cumulative_months, event.data.expires_at, event.data.giftees, event.data.is_live,
    event.data.stream_id, event.data.started_at, event.data.title, event.data.category_name, event.data.complete,
    event.data.subscribers
FROM (
    SELECT position, from_json(value, '{_SHAPE.replace(chr(10), "")}') AS event
    FROM (SELECT unnest($1::BIGINT[]) AS position, unnest($2::VARCHAR[]) AS value)
)
"""


def append_recent(connection: duckdb.DuckDBPyConnection, positions: Sequence[int], texts: Sequence[str]) -> None:
    """Put the records into `recent`. Raises duckdb.Error when one of them cannot be an event."""
    connection.execute(f"INSERT INTO recent {_ROWS}", [list(positions), texts])


def stage(connection: duckdb.DuckDBPyConnection, positions: Sequence[int], texts: Sequence[str]) -> None:
    """Put the records into a temporary table, `arrivals`, with the columns of `recent`. Raises as append_recent."""
    connection.execute(f"CREATE OR REPLACE TEMP TABLE arrivals AS {_ROWS}", [list(positions), texts])
