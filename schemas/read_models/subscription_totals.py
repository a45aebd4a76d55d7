"""How many subscriptions were bought, renewed and gifted in all? Counted over the history's rows."""

from __future__ import annotations

from collections import Counter

from msgspec import Struct

from schemas.read_models.model import Query, Reading, ReadModel, Rows
from schemas.read_models.subscription_history import GIFTS, NEW, RENEWAL, late


class SubscriptionTotalsRow(Struct, frozen=True, array_like=True):
    """Bought for oneself, renewals that count, gifted (one per giftee), and the rows of the history."""

    new: int
    resubs: int
    gifted: int
    history_count: int


SETTLED = f"""
SELECT type, sum(subscriptions)::BIGINT, count(*) FROM subscription_history WHERE user_id = $user_id GROUP BY type
UNION ALL SELECT '{RENEWAL}', -count(*), -count(*) FROM subscription_history_suppressed WHERE user_id = $user_id
"""
"""By type, and the renewals that do not count."""


def totals(reading: Reading) -> Rows:
    """`SubscriptionTotalsRow`, one."""
    subscriptions: Counter[str] = Counter()
    history_count = 0
    for type, count, rows in reading.rows(SETTLED):
        subscriptions[type] += count
        history_count += rows
    known = reading.shared(late)
    for row in known.rows:
        if row.suppressed_at is None:
            subscriptions[row.type] += row.subscriptions
            history_count += 1
    subscriptions[RENEWAL] -= len(known.suppressed)
    history_count -= len(known.suppressed)
    return [(subscriptions[NEW], subscriptions[RENEWAL], subscriptions[GIFTS], history_count)]


READ_MODEL = ReadModel(
    name="subscription_totals",
    version=2,
    queries=(Query(name="subscription_totals", row=SubscriptionTotalsRow, answer=totals),),
)
