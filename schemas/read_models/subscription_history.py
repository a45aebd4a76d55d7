"""Which subscriptions were bought, renewed and gifted, and which renewals do not count?

A Twitch subscription message is suppressed (kept, not counted) with `cumulative_months` 1, or when a new
subscription of the same viewer lies between 30 × 24 h before and 10 minutes after it, whichever arrives first:
a lapsed subscriber's purchase arrives as `new`, and once more as a message when shared.
https://dev.twitch.tv/docs/eventsub/eventsub-subscription-types/#channelsubscriptionmessage
"""

from __future__ import annotations

from msgspec import Struct

from schemas.read_models.coins import SUBSCRIPTION, pay
from schemas.read_models.model import Fold, Query, ReadModel


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
    subscriptions BIGINT, occurred_at TIMESTAMPTZ, received_at TIMESTAMPTZ, suppressed BOOLEAN, coins BIGINT
);
"""
"""`coins`: what the row brings the viewer while it counts (a gift's are paid with the gift)."""

NEW = "channel.subscription.new"
RENEWAL = "channel.subscription.renewal"
GIFTS = "channel.subscription.gifts"

_BOUGHT_NEAR = """
bought.occurred_at BETWEEN renewal.occurred_at - INTERVAL 720 HOURS AND renewal.occurred_at + INTERVAL 10 MINUTES
"""

TAKEN_BACK = f"""
WITH taken_back AS (
    UPDATE subscription_history AS renewal SET suppressed = true
    FROM (SELECT user_id, actor_id, occurred_at FROM batch WHERE type = '{NEW}' AND platform = 'twitch') AS bought
    WHERE renewal.type = '{RENEWAL}' AND renewal.platform = 'twitch' AND NOT renewal.suppressed
        AND renewal.user_id = bought.user_id AND renewal.viewer_id = bought.actor_id AND {_BOUGHT_NEAR}
    RETURNING renewal.user_id, renewal.platform, renewal.viewer_id, renewal.coins
)
{pay("SELECT user_id, platform, viewer_id, -coins AS coins FROM taken_back")}
"""

ROWS = f"""
WITH entered AS (
    INSERT INTO subscription_history
    SELECT position, user_id, platform, type, actor_id, actor_name,
        CASE type WHEN '{GIFTS}' THEN gift_count ELSE 1 END, occurred_at, received_at,
        type = '{RENEWAL}' AND platform = 'twitch' AND (coalesce(cumulative_months, 0) = 1 OR EXISTS (
            SELECT 1 FROM (
                SELECT user_id, viewer_id, occurred_at FROM subscription_history
                WHERE type = '{NEW}' AND platform = 'twitch'
                UNION ALL
                SELECT user_id, actor_id, occurred_at FROM batch WHERE type = '{NEW}' AND platform = 'twitch'
            ) AS bought
            WHERE bought.user_id = renewal.user_id AND bought.viewer_id = renewal.actor_id AND {_BOUGHT_NEAR}
        )),
        CASE type WHEN '{GIFTS}' THEN 0 ELSE {SUBSCRIPTION} END
    FROM batch AS renewal WHERE type IN ('{NEW}', '{RENEWAL}', '{GIFTS}')
    RETURNING user_id, platform, viewer_id, coins, suppressed
)
{pay("SELECT user_id, platform, viewer_id, coins FROM entered WHERE NOT suppressed AND coins > 0")}
"""

HISTORY = """
SELECT type, platform, actor, subscriptions, epoch_us(received_at), position
FROM subscription_history WHERE user_id = $user_id AND NOT suppressed
ORDER BY received_at DESC, position DESC LIMIT $limit
"""

READ_MODEL = ReadModel(
    name="subscription_history",
    version=1,
    tables=TABLES,
    fold=(
        Fold(kinds=frozenset({NEW}), sql=TAKEN_BACK),
        Fold(kinds=frozenset({NEW, RENEWAL, GIFTS}), sql=ROWS),
    ),
    queries=(Query(name="subscription_history", sql=HISTORY, row=SubscriptionHistoryRow, parameters=("limit",)),),
)
