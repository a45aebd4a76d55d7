"""How many subscriptions were bought, renewed and gifted in all? Counted over the history's rows."""

from __future__ import annotations

from msgspec import Struct

from schemas.read_models.model import Query, ReadModel
from schemas.read_models.subscription_history import GIFTS, MINE, NEW, RENEWAL


class SubscriptionTotalsRow(Struct, frozen=True, array_like=True):
    """Bought for oneself, renewals that count, gifted (one per giftee), and the rows of the history."""

    new: int
    resubs: int
    gifted: int
    history_count: int


TOTALS = f"""
WITH {MINE}
SELECT count(*) FILTER (type = '{NEW}'), count(*) FILTER (type = '{RENEWAL}'),
    coalesce(sum(subscriptions) FILTER (type = '{GIFTS}'), 0)::BIGINT, count(*)
FROM subscriptions_of WHERE suppressed_at IS NULL
"""

READ_MODEL = ReadModel(
    name="subscription_totals",
    version=1,
    tables="",
    queries=(Query(name="subscription_totals", sql=TOTALS, row=SubscriptionTotalsRow),),
)
