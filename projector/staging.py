"""From the log's bytes to the staged batch: one temporary table, `batch`, that every fold reads.

Python looks at the head of each record only (ids, type, version); DuckDB parses the whole JSON, set-based. What may
not live here: any table that outlives the batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import msgspec
from msgspec import Struct

from schemas.event import SCHEMA_VERSION, upcast
from schemas.kinds import KIND_STRUCTS


class BadRecord(Exception):
    """A record that is no event. `position` says which, `detail` why, without payload text."""

    def __init__(self, position: int, detail: str) -> None:
        super().__init__(f"position {position}: {detail}")
        self.position = position
        self.detail = detail


class Head(Struct, frozen=True):
    """What the fold must know of a record before SQL sees it."""

    schema_version: int
    event_id: str
    natural_key: str | None
    type: str
    user_id: int


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

_STAGE = f"""
CREATE OR REPLACE TEMP TABLE batch AS
SELECT
    position,
    CASE WHEN event.platform IN ('kick', 'twitch', 'streamkit') AND event.occurred_at IS NOT NULL
              AND event.received_at IS NOT NULL AND (event.actor IS NULL OR event.actor.id IS NOT NULL
              AND event.actor.name IS NOT NULL)
         THEN event.event_id ELSE error('not an event') END AS event_id,
    event.natural_key AS natural_key,
    hash(event.event_id) AS id_hash,
    hash(event.natural_key) AS key_hash,
    event.type AS type,
    event.platform AS platform,
    event.user_id AS user_id,
    event.actor.id AS actor_id,
    event.actor.name AS actor_name,
    event.occurred_at AS occurred_at,
    event.received_at AS received_at,
    event.data.message AS message,
    CASE WHEN event.type NOT IN ('kicks.gifted', 'channel.cheered') OR event.data.amount IS NOT NULL
         THEN event.data.amount ELSE error('no amount') END AS amount,
    CASE WHEN event.type <> 'channel.subscription.gifts' OR event.data.count IS NOT NULL
         THEN event.data.count ELSE error('no count') END AS gift_count,
    event.data.months AS months,
    event.data.cumulative_months AS cumulative_months,
    event.data.expires_at AS expires_at,
    event.data.giftees AS giftees,
    CASE WHEN event.type <> 'livestream.status.updated' OR event.data.is_live IS NOT NULL
         THEN event.data.is_live ELSE error('no is_live') END AS is_live,
    event.data.stream_id AS stream_id,
    event.data.started_at AS started_at,
    event.data.title AS title,
    event.data.category_name AS category_name,
    event.data.complete AS complete,
    event.data.subscribers AS subscribers
FROM (
    SELECT position, from_json(value, '{_SHAPE.replace(chr(10), "")}') AS event
    FROM (SELECT unnest($1::BIGINT[]) AS position, unnest($2::VARCHAR[]) AS value)
)
"""


def stage(connection: duckdb.DuckDBPyConnection, positions: Sequence[int], heads: Heads) -> None:
    """Make `batch` of these records. Raises duckdb.Error when one of them cannot be an event."""
    connection.execute(_STAGE, [list(positions), heads.texts])
