"""What happened lately, and how much in all? Chat lies apart from the rarer kinds."""

from __future__ import annotations

from msgspec import Struct

from schemas.kinds import KINDS, is_stored
from schemas.read_models.model import Fold, Query, Reading, ReadModel, Rows


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

# How far back the newest `limit` reach: a broadcaster who has been quiet for long would otherwise cost a look at
# every event since.
REACH = """
SELECT epoch_us(min(oldest_at)) FROM (
    SELECT oldest_at, sum(events) OVER (ORDER BY oldest_at DESC, stretch) - events AS newer
    FROM events_counts WHERE user_id = $user_id
) WHERE newer < $limit
"""
_WITHIN_REACH = "AND received_at >= make_timestamptz($reach_us::BIGINT)"


def total(reading: Reading) -> Rows:
    """`EventsTotalRow`, one."""
    late = sum(recent.events for kind, recent in reading.recent.items() if is_stored(kind))
    return [(reading.rows(SETTLED_TOTAL)[0][0] + late,)]


def history(reading: Reading, *, limit: int, type: str | None) -> Rows:
    """`EventRow`, newest by receipt first, then by log position."""
    if type is not None:
        table = "events_chat_now" if type == CHAT else "events_rarer_now"
        return reading.rows(_NEWEST.format(events=table, where="AND type = $type"), limit=limit, type=type)
    ((reach_us,),) = reading.rows(REACH, limit=limit)
    found = [
        row
        for table in ("events_chat_now", "events_rarer_now")
        for row in reading.rows(_NEWEST.format(events=table, where=_WITHIN_REACH), limit=limit, reach_us=reach_us or 0)
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
        Query(name="events_history", row=EventRow, answer=history, parameters=("limit", "type")),
    ),
)
