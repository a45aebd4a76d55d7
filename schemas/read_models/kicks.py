"""Who gifted kicks, how many, and when?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from schemas.read_models.coins import RECENTLY, with_names
from schemas.read_models.model import Fold, Query, ReadModel


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


TABLES = """
CREATE TABLE kicks (
    user_id BIGINT, platform VARCHAR, viewer_id VARCHAR, actor VARCHAR, amount BIGINT,
    occurred_at TIMESTAMPTZ, event_id VARCHAR
);
"""

GIFTED = """
SELECT user_id, platform, actor_id, actor_name, amount, occurred_at, event_id FROM batch WHERE type = 'kicks.gifted'
"""

SUMMARY = "SELECT coalesce(sum(amount), 0)::BIGINT, count(*) FROM kicks_now WHERE user_id = $user_id"

TOP = f"""
WITH {RECENTLY},
mine AS MATERIALIZED (
    SELECT platform, viewer_id, sum(amount)::BIGINT AS kicks FROM kicks_now
    WHERE user_id = $user_id AND viewer_id IS NOT NULL GROUP BY platform, viewer_id
),
top AS MATERIALIZED (
    SELECT * FROM mine WHERE kicks >= (SELECT min(kicks) FROM (SELECT kicks FROM mine ORDER BY kicks DESC LIMIT $limit))
)
SELECT name, kicks, platform, viewer_id FROM ({with_names("top")})
"""


def rank(rows: list[tuple[Any, ...]], parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """The leaders in order; the ties, which SQL cannot compare casefolded, are settled here."""
    rows.sort(key=lambda row: (-row[1], row[0].casefold(), row[2], row[3]))
    return [row[:2] for row in rows[: parameters["limit"]]]


HISTORY = """
SELECT actor, amount, epoch_us(occurred_at) FROM kicks_now WHERE user_id = $user_id
ORDER BY occurred_at DESC, event_id DESC LIMIT $limit
"""

READ_MODEL = ReadModel(
    name="kicks",
    version=1,
    tables=TABLES,
    fold=(Fold(into="kicks", sql=GIFTED),),
    queries=(
        Query(name="kicks_summary", sql=SUMMARY, row=KicksSummaryRow),
        Query(name="kicks_top", sql=TOP, row=KicksTopRow, parameters=("limit",), finish=rank),
        Query(name="kicks_history", sql=HISTORY, row=KicksHistoryRow, parameters=("limit",)),
    ),
)
