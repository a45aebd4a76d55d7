"""Who gifted kicks, how many, and when?"""

from __future__ import annotations

from msgspec import Struct

from schemas.read_models.model import Before, Fold, Query, Reading, ReadModel, Rows, page
from schemas.read_models.viewers import newest_names


class KicksSummaryRow(Struct, frozen=True, array_like=True):
    """`total_kicks` is the sum of all gifts, `gift_events` their number, anonymous ones included."""

    total_kicks: int
    gift_events: int


class KicksTopRow(Struct, frozen=True, array_like=True):
    """One gifter under the newest name and the sum of the gifts."""

    username: str
    kicks: int


class KicksHistoryRow(Struct, frozen=True, array_like=True):
    """One gift: the name in the event (None: anonymous), kicks, and when."""

    actor: str | None
    amount: int
    occurred_us: int
    event_id: str


COLUMNS = """
    position BIGINT, user_id BIGINT, platform VARCHAR, viewer_id VARCHAR, actor VARCHAR, amount BIGINT,
    occurred_at TIMESTAMPTZ, event_id VARCHAR
"""

GIFTED = """
SELECT position, user_id, platform, actor_id, actor_name, amount, occurred_at, event_id
FROM batch WHERE type = 'kicks.gifted'
"""

SUMMARY = "SELECT coalesce(sum(amount), 0)::BIGINT, count(*) FROM kicks_now WHERE user_id = $user_id"

GIFTERS = """
SELECT platform, viewer_id, sum(amount)::BIGINT AS gifted FROM kicks_now
WHERE user_id = $user_id AND viewer_id IS NOT NULL GROUP BY platform, viewer_id
QUALIFY rank() OVER (ORDER BY gifted DESC) <= $limit
"""

HISTORY = """
SELECT actor, amount, epoch_us(occurred_at), event_id FROM kicks_now WHERE user_id = $user_id {page}
ORDER BY occurred_at DESC, event_id DESC LIMIT $limit
"""


def summary(reading: Reading) -> Rows:
    """`KicksSummaryRow`, one."""
    return reading.rows(SUMMARY)


def top(reading: Reading, *, limit: int) -> Rows:
    """`KicksTopRow`, the greatest sum first; ties by name casefolded, platform, id."""
    gifters = reading.rows(GIFTERS, limit=limit)
    names = newest_names(reading, [gifter[:2] for gifter in gifters])
    gifters.sort(key=lambda row: (-row[2], names[row[:2]].casefold(), *row[:2]))
    return [(names[row[:2]], row[2]) for row in gifters[:limit]]


def history(reading: Reading, *, limit: int, before: Before | None) -> Rows:
    """`KicksHistoryRow`, newest first."""
    sql, place = page(before, time="occurred_at", tie="event_id")
    return reading.rows(HISTORY.format(page=sql), limit=limit, **place)


READ_MODEL = ReadModel(
    name="kicks",
    version=2,
    fold=(Fold(into="kicks", kinds=("kicks.gifted",), columns=COLUMNS, sql=GIFTED),),
    queries=(
        Query(name="kicks_summary", row=KicksSummaryRow, answer=summary),
        Query(name="kicks_top", row=KicksTopRow, answer=top, parameters=("limit",)),
        Query(name="kicks_history", row=KicksHistoryRow, answer=history, parameters=("limit", "before")),
    ),
)
