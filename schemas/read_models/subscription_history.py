"""Which subscriptions were bought, renewed and gifted, and which renewals do not count?

A Twitch subscription message is suppressed (kept, not counted) with `cumulative_months` 1, or when a new
subscription of the same viewer lies between 30 × 24 h before and 10 minutes after it, whichever arrives first:
a lapsed subscriber's purchase arrives as `new`, and once more as a message when shared.
https://dev.twitch.tv/docs/eventsub/eventsub-subscription-types/#channelsubscriptionmessage
"""

from __future__ import annotations

from msgspec import Struct

from schemas.read_models.model import Fold, Query, ReadModel

SUBSCRIPTION_COINS = 100
"""What a viewer earns by a subscription that counts."""


class SubscriptionHistoryRow(Struct, frozen=True, array_like=True):
    """One purchase, renewal that counts, or gift: the actor's name in the event (None: anonymous), subscriptions."""

    type: str
    platform: str
    actor: str | None
    count: int
    received_us: int
    position: int


TABLES = """
CREATE TABLE subscription_history (
    position BIGINT, user_id BIGINT, platform VARCHAR, type VARCHAR, viewer_id VARCHAR, actor VARCHAR,
    subscriptions BIGINT, occurred_at TIMESTAMPTZ, received_at TIMESTAMPTZ, coins BIGINT, suppressed_at BIGINT
);
"""
"""`coins`: what the row brings the viewer while it counts (a gift's are paid with the gift). `suppressed_at`: the log
position from which on the renewal does not count, its own or that of the purchase; null while it counts."""

NEW = "channel.subscription.new"
RENEWAL = "channel.subscription.renewal"
GIFTS = "channel.subscription.gifts"

ROWS = f"""
SELECT position, user_id, platform, type, actor_id, actor_name,
    CASE type WHEN '{GIFTS}' THEN gift_count ELSE 1 END, occurred_at, received_at,
    CASE type WHEN '{GIFTS}' THEN 0 ELSE {SUBSCRIPTION_COINS} END,
    CASE WHEN type = '{RENEWAL}' AND platform = 'twitch' AND cumulative_months = 1 THEN position END
FROM batch WHERE type IN ('{NEW}', '{RENEWAL}', '{GIFTS}')
"""


def pairs(renewals: str, purchases: str) -> str:
    """Which of `renewals` are suppressed by one of `purchases` (both rows of the history), and from where on."""
    return f"""
    SELECT renewal.position, min(greatest(renewal.position, bought.position)) AS suppressed_at
    FROM {renewals} AS renewal JOIN {purchases} AS bought
      ON bought.user_id = renewal.user_id AND bought.viewer_id = renewal.viewer_id
      AND bought.occurred_at BETWEEN renewal.occurred_at - INTERVAL 720 HOURS
                                 AND renewal.occurred_at + INTERVAL 10 MINUTES
    WHERE renewal.type = '{RENEWAL}' AND renewal.platform = 'twitch' AND renewal.suppressed_at IS NULL
        AND bought.type = '{NEW}' AND bought.platform = 'twitch'
    GROUP BY renewal.position
    """


SUPPRESSED = f"""
WITH settling AS MATERIALIZED (SELECT * FROM subscription_history WHERE position >= $from)
UPDATE subscription_history SET suppressed_at = pair.suppressed_at
FROM (
    SELECT position, min(suppressed_at) AS suppressed_at
    FROM ({pairs("settling", "subscription_history")} UNION ALL {pairs("subscription_history", "settling")})
    GROUP BY position
) AS pair
WHERE subscription_history.position = pair.position
"""

MINE = f"""
    mine AS MATERIALIZED (SELECT * FROM subscription_history_now WHERE user_id = $user_id),
    lately AS MATERIALIZED (SELECT * FROM mine WHERE position >= $settled),
    suppressed_lately AS (
        SELECT position, min(suppressed_at) AS suppressed_at
        FROM ({pairs("lately", "mine")} UNION ALL {pairs("mine", "lately")}) GROUP BY position
    ),
    subscriptions_of AS MATERIALIZED (
        SELECT mine.* REPLACE (coalesce(mine.suppressed_at, suppressed_lately.suppressed_at) AS suppressed_at)
        FROM mine LEFT JOIN suppressed_lately USING (position)
    )"""
"""`subscriptions_of`: the broadcaster's history as it stands now, for a WITH clause."""


def coins_earned(history: str, first: str, end: str | None) -> str:
    """The coins (position, user_id, platform, viewer_id, coins) that positions from `first` up to before `end` (None: on) give
    and take: a renewal that counted is paid where it lies, and taken back where it stops to count."""
    before_end = f"AND {{at}} < {end}" if end else ""
    return f"""
    SELECT position, user_id, platform, viewer_id, coins FROM {history}
    WHERE position >= {first} {before_end.format(at="position")} AND coins <> 0 AND viewer_id IS NOT NULL
        AND (suppressed_at IS NULL OR suppressed_at > position)
    UNION ALL
    SELECT suppressed_at, user_id, platform, viewer_id, -coins FROM {history}
    WHERE suppressed_at >= {first} {before_end.format(at="suppressed_at")} AND suppressed_at > position
        AND viewer_id IS NOT NULL
    """


HISTORY = f"""
WITH {MINE}
SELECT type, platform, actor, subscriptions, epoch_us(received_at), position
FROM subscriptions_of WHERE suppressed_at IS NULL
ORDER BY received_at DESC, position DESC LIMIT $limit
"""

READ_MODEL = ReadModel(
    name="subscription_history",
    version=1,
    tables=TABLES,
    fold=(Fold(into="subscription_history", sql=ROWS),),
    settle=(SUPPRESSED,),
    queries=(Query(name="subscription_history", sql=HISTORY, row=SubscriptionHistoryRow, parameters=("limit",)),),
)
