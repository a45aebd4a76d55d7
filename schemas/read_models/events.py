"""What happened lately, and how much in all? Chat lies apart from the rarer kinds."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from schemas.kinds import KINDS, is_stored
from schemas.read_models.model import Before, Fold, Query, Reading, ReadModel, Rows, page


class EventsTotalRow(Struct, frozen=True, array_like=True):
    """Events stored for the broadcaster, chat included."""

    total: int


class EventRow(Struct, frozen=True, array_like=True):
    """One event: the actor's name in it (None: anonymous or nobody) and its text (None: none)."""

    type: str
    platform: str
    actor: str | None
    message: str | None
    received_us: int
    position: int


TABLES = "CREATE TABLE events_counts (stretch BIGINT, user_id BIGINT, events BIGINT, oldest_at TIMESTAMPTZ);"
"""How many events of a broadcaster lie in a settled stretch of the log, and when the oldest of them was received."""

COLUMNS = """
    position BIGINT, user_id BIGINT, received_at TIMESTAMPTZ, type VARCHAR, platform VARCHAR, actor VARCHAR,
    message VARCHAR
"""

CHAT = "chat.message.sent"
RARER = tuple(kind for kind in KINDS if is_stored(kind) and kind != CHAT)

_ROWS = """
SELECT position, user_id, received_at, type, platform, actor_name AS actor, nullif(message, '') AS message
FROM batch WHERE type IN {kinds}
"""
CHAT_ROWS = _ROWS.format(kinds=f"('{CHAT}')")
RARER_ROWS = _ROWS.format(kinds=RARER)

COUNTS = """
INSERT INTO events_counts
SELECT position // $every AS stretch, user_id, count(*), min(received_at)
FROM (
    SELECT position, user_id, received_at FROM events_chat WHERE position >= $from
    UNION ALL SELECT position, user_id, received_at FROM events_rarer WHERE position >= $from
) GROUP BY stretch, user_id
"""

SETTLED_TOTAL = "SELECT coalesce(sum(events), 0)::BIGINT FROM events_counts WHERE user_id = $user_id"

_NEWEST = """
SELECT type, platform, actor, message, epoch_us(received_at), position FROM {events}
WHERE user_id = $user_id {where} ORDER BY received_at DESC, position DESC LIMIT $limit
"""
_FILTERS = {
    "type": "AND type = $type",
    "platform": "AND platform = $platform",
    "actor": "AND actor = $actor",
    "since_us": "AND received_at >= make_timestamptz($since_us::BIGINT)",
    "until_us": "AND received_at < make_timestamptz($until_us::BIGINT)",
}

# How far back the newest `limit` reach: a broadcaster who has been quiet for long would otherwise cost a look at
# every event since.
REACH = """
SELECT epoch_us(oldest_at), events FROM events_counts WHERE user_id = $user_id ORDER BY oldest_at DESC LIMIT $limit
"""


def total(reading: Reading) -> Rows:
    """`EventsTotalRow`, one."""
    late = sum(recent.events for kind, recent in reading.recent.items() if is_stored(kind))
    return [(reading.rows(SETTLED_TOTAL)[0][0] + late,)]


def _reach(stretches: Rows, limit: int) -> int | None:
    """When the oldest was received of as many stretches, the newest first, as have `limit` events; None: there are none."""
    reach_us = None
    for oldest_us, events in stretches:
        reach_us, limit = oldest_us, limit - events
        if limit <= 0:
            break
    return reach_us


def history(reading: Reading, *, limit: int, before: Before | None, **filters: Any) -> Rows:
    """`EventRow`, newest by receipt first, then by log position. `filters` that are None do not filter."""
    given = {name: value for name, value in filters.items() if value is not None}
    sql, place = page(before, time="received_at", tie="position")
    tables = ["events_chat_now", "events_rarer_now"]
    if "type" in given:
        tables = tables[:1] if given["type"] == CHAT else tables[1:]
    elif not given and before is None:
        reach_us = _reach(reading.rows(REACH, limit=limit), limit)
        given = {} if reach_us is None else {"since_us": reach_us}
    where = " ".join([sql, *(_FILTERS[name] for name in given)])
    found = [
        row
        for events in tables
        for row in reading.rows(_NEWEST.format(events=events, where=where), limit=limit, **given, **place)
    ]
    return sorted(found, key=lambda row: row[4:], reverse=True)[:limit]


READ_MODEL = ReadModel(
    name="events",
    version=4,
    tables=TABLES,
    fold=(
        Fold(into="events_chat", kinds=(CHAT,), columns=COLUMNS, sql=CHAT_ROWS, by_user=False),
        Fold(into="events_rarer", kinds=RARER, columns=COLUMNS, sql=RARER_ROWS, by_user=False),
    ),
    settle=(COUNTS,),
    queries=(
        Query(name="events_total", row=EventsTotalRow, answer=total),
        Query(name="events_history", row=EventRow, answer=history, parameters=("limit", "before", *_FILTERS)),
    ),
)
