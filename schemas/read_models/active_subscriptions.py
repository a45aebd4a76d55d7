"""Who is subscribed at a given moment, and whose subscription ends next?

Facts (when, until when) and ends are kept as they came; the question sorts them out at its moment, which is a
parameter: there is no clock in here. Facts that ran out before the moment are skipped by the block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from schemas.read_models.coins import newest_names
from schemas.read_models.model import Fold, Query, Reading, ReadModel, Rows


class ActiveTotalRow(Struct, frozen=True, array_like=True):
    """How many viewers of a platform are subscribed; platforms that have none are left out."""

    platform: str
    active_total: int


class ActivePreviewRow(Struct, frozen=True, array_like=True):
    """One active subscriber under the newest name, and when the subscription ends."""

    username: str
    platform: str
    expires_us: int


COLUMNS = """
    position BIGINT, user_id BIGINT, platform VARCHAR, viewer_id VARCHAR, occurred_at TIMESTAMPTZ,
    expires_at TIMESTAMPTZ, ended BOOLEAN
"""
"""`expires_at` null where `ended`."""

POLL_COLUMNS = "position BIGINT, user_id BIGINT, platform VARCHAR, polled_at TIMESTAMPTZ, listed VARCHAR[]"
"""The complete lists of subscribers, each by the moment at which its poll began; whoever is not listed had ended by
then."""

NEW = "channel.subscription.new"
RENEWAL = "channel.subscription.renewal"
GIFTS = "channel.subscription.gifts"
RECEIVED = "channel.subscription.gift_received"
ENDED = "channel.subscription.ended"
SNAPSHOT = "channel.subscription.snapshot"

FACTS = f"""
SELECT * FROM (
    SELECT position, user_id, platform, actor_id AS viewer_id, occurred_at,
        CASE WHEN type = '{ENDED}' THEN NULL WHEN platform = 'kick' THEN expires_at
            ELSE occurred_at + to_months(CASE type WHEN '{RENEWAL}' THEN coalesce(months, 1) ELSE 1 END::INTEGER)
        END AS expires_at,
        type = '{ENDED}' AS ended
    FROM batch WHERE type IN ('{NEW}', '{RENEWAL}', '{RECEIVED}', '{ENDED}') AND actor_id IS NOT NULL
    UNION ALL
    SELECT position, user_id, platform, viewer.id, occurred_at,
        CASE type WHEN '{GIFTS}' THEN expires_at ELSE occurred_at + to_months(1) END, false
    FROM (
        SELECT position, user_id, platform, type, occurred_at, expires_at,
            unnest(coalesce(giftees, subscribers)) AS viewer
        FROM batch WHERE (type = '{GIFTS}' AND platform = 'kick') OR (type = '{SNAPSHOT}' AND complete)
    )
) WHERE ended OR expires_at IS NOT NULL
"""

POLLS = f"""
SELECT position, user_id, platform, occurred_at, list_transform(coalesce(subscribers, []), lambda one: one.id)
FROM batch WHERE type = '{SNAPSHOT}' AND complete
"""

ANY_POLL = "SELECT count(*) FROM active_subscriptions_polls_now WHERE user_id = $user_id"

_UNLISTED = """
    UNION ALL
    SELECT fact.platform, fact.viewer_id, poll.polled_at, NULL, true
    FROM active_subscriptions_polls_now AS poll
    JOIN (SELECT DISTINCT platform, viewer_id FROM active_subscriptions_now WHERE user_id = $user_id) AS fact
      USING (platform)
    WHERE poll.user_id = $user_id AND NOT list_contains(poll.listed, fact.viewer_id)
"""
_ACTIVE = """
WITH known AS (
    SELECT platform, viewer_id, occurred_at, expires_at, ended FROM active_subscriptions_now
    WHERE user_id = $user_id AND (ended OR expires_at > make_timestamptz($now_us::BIGINT))
        AND list_contains($platforms::VARCHAR[], platform)
    {unlisted}
),
active AS MATERIALIZED (
    SELECT platform, viewer_id, list_max(list_transform(
            list_filter(facts, lambda fact: ended_at IS NULL OR fact.occurred_at > ended_at),
            lambda fact: epoch_us(fact.expires_at))) AS expires_us
    FROM (
        SELECT platform, viewer_id, max(occurred_at) FILTER (ended) AS ended_at,
            list({{'occurred_at': occurred_at, 'expires_at': expires_at}}) FILTER (NOT ended) AS facts
        FROM known GROUP BY platform, viewer_id
    ) WHERE expires_us IS NOT NULL
)
"""
TOTALS = _ACTIVE + "SELECT platform, count(*) FROM active GROUP BY platform ORDER BY platform"
NEXT = _ACTIVE + "SELECT * FROM active ORDER BY expires_us LIMIT $limit"
UNTIL = _ACTIVE + "SELECT * FROM active WHERE expires_us <= $latest_us"


def _polls(reading: Reading) -> int:
    polls: int = reading.rows(ANY_POLL)[0][0]
    return polls


def _active(reading: Reading, sql: str, **parameters: Any) -> Rows:
    return reading.rows(sql.format(unlisted=_UNLISTED if reading.shared(_polls) else ""), **parameters)


def totals(reading: Reading, *, now_us: int, platforms: Sequence[str]) -> Rows:
    """`ActiveTotalRow`, by platform, those of `platforms` that have any."""
    return _active(reading, TOTALS, now_us=now_us, platforms=list(platforms))


def preview(reading: Reading, *, now_us: int, platforms: Sequence[str], limit: int) -> Rows:
    """`ActivePreviewRow`, soonest first; ties by name casefolded, platform, id."""
    at_hand: dict[str, Any] = {"now_us": now_us, "platforms": list(platforms)}
    next_ones = _active(reading, NEXT, limit=limit + 1, **at_hand)
    if len(next_ones) > limit and next_ones[limit - 1][2] == next_ones[limit][2]:  # who ties for the last place?
        next_ones = _active(reading, UNTIL, latest_us=next_ones[limit][2], **at_hand)
    names = newest_names(reading, [row[:2] for row in next_ones])
    ranked = [(names[platform, id], platform, expires_us, id) for platform, id, expires_us in next_ones]
    ranked.sort(key=lambda row: (row[2], row[0].casefold(), row[1], row[3]))
    return [row[:3] for row in ranked[:limit]]


READ_MODEL = ReadModel(
    name="active_subscriptions",
    version=2,
    fold=(
        Fold(into="active_subscriptions", columns=COLUMNS, sql=FACTS),
        Fold(into="active_subscriptions_polls", columns=POLL_COLUMNS, sql=POLLS),
    ),
    queries=(
        Query(name="active_totals", row=ActiveTotalRow, answer=totals, parameters=("now_us", "platforms")),
        Query(name="active_preview", row=ActivePreviewRow, answer=preview, parameters=("now_us", "platforms", "limit")),
    ),
)
