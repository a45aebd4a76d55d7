"""Which subscriptions were bought, renewed and gifted, and which renewals do not count?

A Twitch subscription message is suppressed (kept, not counted) with `cumulative_months` 1, or when a new
subscription of the same viewer lies between 30 × 24 h before and 10 minutes after it, whichever arrives first:
a lapsed subscriber's purchase arrives as `new`, and once more as a message when shared.
https://dev.twitch.tv/docs/eventsub/eventsub-subscription-types/#channelsubscriptionmessage
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from schemas.read_models.model import Before, Fold, Query, Reading, ReadModel, Rows, lately, page


class SubscriptionHistoryRow(Struct, frozen=True, array_like=True):
    """One purchase, renewal that counts, or gift: the actor's name in the event (None: anonymous), subscriptions."""

    type: str
    platform: str
    actor: str | None
    count: int
    received_us: int
    position: int


COLUMNS = """
    position BIGINT, user_id BIGINT, platform VARCHAR, type VARCHAR, viewer_id VARCHAR, actor VARCHAR,
    subscriptions BIGINT, occurred_at TIMESTAMPTZ, received_at TIMESTAMPTZ, first_month BOOLEAN
"""
"""`first_month`: a Twitch message that never counts."""

TABLES = """
CREATE TABLE subscription_history_suppressed (
    position BIGINT, suppressed_at BIGINT, user_id BIGINT
);
"""
"""The renewals that do not count, and the log position from which on they do not: their own or that of the purchase."""

NEW = "channel.subscription.new"
RENEWAL = "channel.subscription.renewal"
GIFTS = "channel.subscription.gifts"
KINDS = (NEW, RENEWAL, GIFTS)

ROWS = f"""
SELECT position, user_id, platform, type, actor_id AS viewer_id, actor_name AS actor,
    CASE type WHEN '{GIFTS}' THEN gift_count ELSE 1 END AS subscriptions, occurred_at, received_at,
    coalesce(type = '{RENEWAL}' AND platform = 'twitch' AND cumulative_months = 1, false) AS first_month
FROM batch WHERE type IN {KINDS}
"""

BEFORE_US = 30 * 24 * 3600 * 1_000_000
AFTER_US = 600 * 1_000_000


def _pairs(renewals: str, purchases: str) -> str:
    """Which of `renewals` are suppressed by one of `purchases` (both rows of the history), and from where on."""
    return f"""
    SELECT renewal.position, greatest(renewal.position, bought.position) AS suppressed_at,
        renewal.user_id
    FROM {renewals} AS renewal JOIN {purchases} AS bought
      ON bought.user_id = renewal.user_id AND bought.viewer_id = renewal.viewer_id
      AND epoch_us(bought.occurred_at) - epoch_us(renewal.occurred_at) BETWEEN -{BEFORE_US} AND {AFTER_US}
    WHERE renewal.type = '{RENEWAL}' AND renewal.platform = 'twitch' AND NOT renewal.first_month
        AND bought.type = '{NEW}' AND bought.platform = 'twitch'
    """


SUPPRESSED = f"""
INSERT INTO subscription_history_suppressed
WITH settling AS MATERIALIZED (SELECT * FROM subscription_history WHERE position >= $from)
SELECT position, min(suppressed_at), user_id
FROM (
    SELECT position, position AS suppressed_at, user_id FROM settling WHERE first_month
    UNION ALL {_pairs("settling", "subscription_history")}
    UNION ALL {_pairs("subscription_history", "settling")}
) AS pair
ANTI JOIN subscription_history_suppressed AS known USING (position)
GROUP BY ALL
"""


class Subscription(Struct, frozen=True):
    """A row of the history."""

    position: int
    platform: str
    type: str
    viewer_id: str | None
    actor: str | None
    subscriptions: int
    occurred_us: int
    received_us: int
    suppressed_at: int | None

    @property
    def is_subscription(self) -> bool:
        """Of the viewer's own, not a gift."""
        return self.type != GIFTS


class Late(Struct, frozen=True):
    """What the recent events add to the history: their `rows`, and the settled rows that they suppress."""

    rows: list[Subscription]
    suppressed: list[Subscription]


_COLUMNS = """position, platform, type, viewer_id, actor, subscriptions, epoch_us(occurred_at), epoch_us(received_at),
    CASE WHEN first_month THEN position END"""
_SUPPRESSED = "SELECT position FROM subscription_history_suppressed WHERE user_id = $user_id"
LATE = f"SELECT {_COLUMNS} FROM ({lately(ROWS)}) WHERE user_id = $user_id"
OF_VIEWERS = f"""
SELECT {_COLUMNS} FROM subscription_history
WHERE user_id = $user_id AND platform = 'twitch' AND type IN ('{NEW}', '{RENEWAL}')
    AND list_contains($viewers::VARCHAR[], viewer_id) AND position NOT IN ({_SUPPRESSED})
"""


def late(reading: Reading) -> Late:
    """The recent rows, each with whether it counts by now."""
    if reading.recent.keys().isdisjoint(KINDS):
        return Late(rows=[], suppressed=[])
    rows = [Subscription(*row) for row in reading.rows(LATE)]
    viewers = {row.viewer_id for row in rows if _is_twitch(row) and row.type != GIFTS and row.viewer_id is not None}
    settled = [Subscription(*row) for row in reading.rows(OF_VIEWERS, viewers=list(viewers))] if viewers else []
    bought = [row for row in rows + settled if row.type == NEW and _is_twitch(row)]
    rows = [_judged(row, bought) for row in rows]
    recently = [row for row in bought if row.position >= reading.settled]
    judged = [_judged(row, recently) for row in settled]
    return Late(rows=rows, suppressed=[row for row in judged if row.suppressed_at is not None])


def _is_twitch(row: Subscription) -> bool:
    return row.platform == "twitch"


def _judged(row: Subscription, bought: list[Subscription]) -> Subscription:
    """The row as these purchases leave it."""
    if row.type != RENEWAL or not _is_twitch(row) or row.suppressed_at is not None or row.viewer_id is None:
        return row
    near = [
        max(one.position, row.position)
        for one in bought
        if one.viewer_id == row.viewer_id and -BEFORE_US <= one.occurred_us - row.occurred_us <= AFTER_US
    ]
    return replace(row, suppressed_at=min(near)) if near else row


SETTLED_HISTORY = f"""
SELECT type, platform, actor, subscriptions, epoch_us(received_at), position
FROM subscription_history WHERE user_id = $user_id AND position NOT IN ({_SUPPRESSED}) {{page}}
ORDER BY received_at DESC, position DESC LIMIT $limit
"""


def history(reading: Reading, *, limit: int, before: Before | None) -> Rows:
    """`SubscriptionHistoryRow`, newest by receipt first, then by log position."""
    known = reading.shared(late)
    gone = {row.position for row in known.suppressed}
    rows: Rows = [
        (row.type, row.platform, row.actor, row.subscriptions, row.received_us, row.position)
        for row in known.rows
        if row.suppressed_at is None and (before is None or (row.received_us, row.position) < tuple(before))
    ]
    sql, place = page(before, time="received_at", tie="position")
    settled = reading.rows(SETTLED_HISTORY.format(page=sql), limit=limit + len(gone), **place)
    rows += [row for row in settled if row[5] not in gone]
    return sorted(rows, key=lambda row: row[4:], reverse=True)[:limit]


READ_MODEL = ReadModel(
    name="subscription_history",
    version=4,
    tables=TABLES,
    fold=(Fold(into="subscription_history", kinds=KINDS, columns=COLUMNS, sql=ROWS),),
    settle=(SUPPRESSED,),
    queries=(
        Query(name="subscription_history", row=SubscriptionHistoryRow, answer=history, parameters=("limit", "before")),
    ),
)
