"""Who is subscribed at a given moment, and whose subscription ends next?

Facts (when, until when) and ends are kept as they came; the question sorts them out at its moment, which is a
parameter: there is no clock in here. Facts that ran out before the moment are skipped by the block.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from schemas.read_models.coins import RECENTLY, with_names
from schemas.read_models.model import Fold, Query, ReadModel


class ActiveTotalRow(Struct, frozen=True, array_like=True):
    """How many viewers of a platform are subscribed; platforms that have none are left out."""

    platform: str
    active_total: int


class ActivePreviewRow(Struct, frozen=True, array_like=True):
    """One active subscriber under the newest name, and when the subscription ends."""

    username: str
    platform: str
    expires_us: int


TABLES = """
CREATE TABLE active_subscriptions (
    user_id BIGINT, platform VARCHAR, viewer_id VARCHAR, occurred_at TIMESTAMPTZ, expires_at TIMESTAMPTZ
);
CREATE TABLE active_subscriptions_ends (
    user_id BIGINT, platform VARCHAR, viewer_id VARCHAR, ended_at TIMESTAMPTZ
);
CREATE TABLE active_subscriptions_polls (
    user_id BIGINT, platform VARCHAR, polled_at TIMESTAMPTZ, listed VARCHAR[]
);
"""
"""`..._polls`: the complete lists of subscribers, each by the moment at which its poll began; whoever is not listed
had ended by then."""

NEW = "channel.subscription.new"
RENEWAL = "channel.subscription.renewal"
GIFTS = "channel.subscription.gifts"
RECEIVED = "channel.subscription.gift_received"
ENDED = "channel.subscription.ended"
SNAPSHOT = "channel.subscription.snapshot"

FACTS = f"""
SELECT * FROM (
    SELECT user_id, platform, actor_id, occurred_at,
        CASE platform WHEN 'kick' THEN expires_at
            ELSE occurred_at + to_months(CASE type WHEN '{RENEWAL}' THEN coalesce(months, 1) ELSE 1 END::INTEGER)
        END AS expires_at
    FROM batch WHERE type IN ('{NEW}', '{RENEWAL}', '{RECEIVED}') AND actor_id IS NOT NULL
    UNION ALL
    SELECT user_id, platform, viewer.id, occurred_at,
        CASE type WHEN '{GIFTS}' THEN expires_at ELSE occurred_at + to_months(1) END
    FROM (
        SELECT user_id, platform, type, occurred_at, expires_at, unnest(coalesce(giftees, subscribers)) AS viewer
        FROM batch WHERE (type = '{GIFTS}' AND platform = 'kick') OR (type = '{SNAPSHOT}' AND complete)
    )
) WHERE expires_at IS NOT NULL
"""

ENDS = f"""
SELECT user_id, platform, actor_id, occurred_at FROM batch WHERE type = '{ENDED}' AND actor_id IS NOT NULL
"""

POLLS = f"""
SELECT user_id, platform, occurred_at, list_transform(coalesce(subscribers, []), lambda one: one.id)
FROM batch WHERE type = '{SNAPSHOT}' AND complete
"""

_ACTIVE = """
SELECT platform, viewer_id, max(expires_at) AS expires_at
FROM active_subscriptions_now AS fact
WHERE user_id = $user_id AND list_contains($platforms::VARCHAR[], platform)
    AND expires_at > make_timestamptz($now_us::BIGINT)
    AND NOT EXISTS (
        SELECT 1 FROM active_subscriptions_ends_now AS past
        WHERE past.user_id = $user_id AND past.platform = fact.platform AND past.viewer_id = fact.viewer_id
            AND past.ended_at >= fact.occurred_at
    )
    AND NOT EXISTS (
        SELECT 1 FROM active_subscriptions_polls_now AS poll
        WHERE poll.user_id = $user_id AND poll.platform = fact.platform AND poll.polled_at >= fact.occurred_at
            AND NOT list_contains(poll.listed, fact.viewer_id)
    )
GROUP BY platform, viewer_id
"""

TOTALS = f"SELECT platform, count(*) FROM ({_ACTIVE}) GROUP BY platform ORDER BY platform"

PREVIEW = f"""
WITH {RECENTLY},
active AS MATERIALIZED ({_ACTIVE}),
next AS MATERIALIZED (
    SELECT * FROM active
    WHERE expires_at <= (SELECT max(expires_at) FROM (SELECT expires_at FROM active ORDER BY expires_at LIMIT $limit))
)
SELECT name, platform, epoch_us(expires_at), viewer_id FROM ({with_names("next")})
"""


def soonest(rows: list[tuple[Any, ...]], parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """In order of expiry; the ties, which SQL cannot compare casefolded, are settled here."""
    rows.sort(key=lambda row: (row[2], row[0].casefold(), row[1], row[3]))
    return [row[:3] for row in rows[: parameters["limit"]]]


READ_MODEL = ReadModel(
    name="active_subscriptions",
    version=1,
    tables=TABLES,
    fold=(
        Fold(into="active_subscriptions", sql=FACTS),
        Fold(into="active_subscriptions_ends", sql=ENDS),
        Fold(into="active_subscriptions_polls", sql=POLLS),
    ),
    queries=(
        Query(name="active_totals", sql=TOTALS, row=ActiveTotalRow, parameters=("now_us", "platforms")),
        Query(
            name="active_preview",
            sql=PREVIEW,
            row=ActivePreviewRow,
            parameters=("now_us", "platforms", "limit"),
            finish=soonest,
        ),
    ),
)
