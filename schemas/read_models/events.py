"""What happened lately, and how much in all?"""

from __future__ import annotations

from msgspec import Struct

from schemas.kinds import KINDS, is_stored
from schemas.read_models.model import Fold, Query, ReadModel


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


TABLES = """
CREATE TABLE events (
    position BIGINT, user_id BIGINT, received_at TIMESTAMPTZ, type VARCHAR, platform VARCHAR, actor VARCHAR,
    message VARCHAR
);
CREATE TABLE events_counts (stretch BIGINT, user_id BIGINT, events BIGINT, oldest_at TIMESTAMPTZ);
"""
"""`events_counts`: how many events of a broadcaster lie in a settled stretch of the log, and when the oldest of them
was received."""

ROWS = f"""
SELECT position, user_id, received_at, type, platform, actor_name, nullif(message, '')
FROM batch WHERE type IN ({", ".join(f"'{kind}'" for kind in KINDS if is_stored(kind))})
"""

COUNTS = """
INSERT INTO events_counts
SELECT position // $every AS stretch, user_id, count(*), min(received_at)
FROM events WHERE position >= $from AND position < $to GROUP BY stretch, user_id
"""

TOTAL = """
SELECT (SELECT coalesce(sum(events), 0) FROM events_counts WHERE user_id = $user_id)::BIGINT
    + (SELECT count(*) FROM events_now WHERE user_id = $user_id AND position >= $settled)
"""

HISTORY = """
SELECT type, platform, actor, message, epoch_us(received_at), position FROM events_now
WHERE user_id = $user_id AND ($type::VARCHAR IS NULL OR type = $type)
ORDER BY received_at DESC, position DESC LIMIT $limit
"""

READ_MODEL = ReadModel(
    name="events",
    version=1,
    tables=TABLES,
    fold=(Fold(into="events", sql=ROWS),),
    settle=(COUNTS,),
    queries=(
        Query(name="events_total", sql=TOTAL, row=EventsTotalRow),
        Query(name="events_history", sql=HISTORY, row=EventRow, parameters=("limit", "type")),
    ),
)
