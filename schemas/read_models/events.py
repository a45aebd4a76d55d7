"""What happened lately, and how much in all? Chat lies apart from the rarer kinds."""

from __future__ import annotations

from msgspec import Struct

from schemas.kinds import KINDS, is_stored
from schemas.read_models.model import Fold, Query, ReadModel

CHAT = "chat.message.sent"
RARER_KINDS = frozenset(kind for kind in KINDS if is_stored(kind) and kind != CHAT)


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
CREATE TABLE events_chat (
    position BIGINT, user_id BIGINT, received_at TIMESTAMPTZ, platform VARCHAR, actor VARCHAR, message VARCHAR
);
CREATE TABLE events_rarer (
    position BIGINT, user_id BIGINT, received_at TIMESTAMPTZ, platform VARCHAR, actor VARCHAR, message VARCHAR,
    type VARCHAR
);
CREATE TABLE events_counts (user_id BIGINT PRIMARY KEY, events BIGINT);
"""

_STORED = "type IN (" + ", ".join(f"'{kind}'" for kind in sorted(RARER_KINDS | {CHAT})) + ")"

CHAT_ROWS = f"""
INSERT INTO events_chat
SELECT position, user_id, received_at, platform, actor_name, nullif(message, '')
FROM batch WHERE type = '{CHAT}' ORDER BY position
"""

RARER_ROWS = f"""
INSERT INTO events_rarer
SELECT position, user_id, received_at, platform, actor_name, nullif(message, ''), type
FROM batch WHERE type <> '{CHAT}' AND {_STORED} ORDER BY position
"""

COUNTS = f"""
INSERT INTO events_counts SELECT user_id, count(*) FROM batch WHERE {_STORED} GROUP BY user_id
ON CONFLICT DO UPDATE SET events = events + excluded.events
"""

TOTAL = "SELECT coalesce(sum(events), 0)::BIGINT FROM events_counts WHERE user_id = $user_id"

HISTORY = f"""
SELECT type, platform, actor, message, epoch_us(received_at), position FROM (
    SELECT '{CHAT}' AS type, platform, actor, message, received_at, position FROM events_chat
    WHERE user_id = $user_id AND coalesce($type::VARCHAR, '{CHAT}') = '{CHAT}'
    UNION ALL
    SELECT type, platform, actor, message, received_at, position FROM events_rarer
    WHERE user_id = $user_id AND type = coalesce($type::VARCHAR, type)
)
ORDER BY received_at DESC, position DESC LIMIT $limit
"""

READ_MODEL = ReadModel(
    name="events",
    version=1,
    tables=TABLES,
    fold=(
        Fold(kinds=frozenset({CHAT}), sql=CHAT_ROWS),
        Fold(kinds=RARER_KINDS, sql=RARER_ROWS),
        Fold(kinds=RARER_KINDS | {CHAT}, sql=COUNTS),
    ),
    queries=(
        Query(name="events_total", sql=TOTAL, row=EventsTotalRow),
        Query(name="events_history", sql=HISTORY, row=EventRow, parameters=("limit", "type")),
    ),
)
