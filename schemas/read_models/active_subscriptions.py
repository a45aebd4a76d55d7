"""Who is subscribed at a given moment, and whose subscription ends next?

Facts (when, until when) and ends are kept as they came; the question sorts them out at its moment, which is a
parameter: there is no clock in here. Facts that ran out before the moment are skipped by the block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from schemas.read_models.model import Fold, Query, Reading, ReadModel, Rows
from schemas.read_models.viewers import newest_names


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
    expires_at TIMESTAMPTZ
"""

ENDED_COLUMNS = "position BIGINT, user_id BIGINT, platform VARCHAR, viewer_id VARCHAR, ended_at TIMESTAMPTZ"

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
        CASE platform WHEN 'kick' THEN expires_at
            ELSE occurred_at + to_months(CASE type WHEN '{RENEWAL}' THEN coalesce(months, 1) ELSE 1 END::INTEGER)
        END AS expires_at
    FROM batch WHERE type IN ('{NEW}', '{RENEWAL}', '{RECEIVED}') AND actor_id IS NOT NULL
    UNION ALL
    SELECT position, user_id, platform, viewer.id, occurred_at,
        CASE type WHEN '{GIFTS}' THEN expires_at ELSE occurred_at + to_months(1) END
    FROM (
        SELECT position, user_id, platform, type, occurred_at, expires_at,
            unnest(coalesce(giftees, subscribers)) AS viewer
        FROM batch WHERE (type = '{GIFTS}' AND platform = 'kick') OR (type = '{SNAPSHOT}' AND complete)
    )
) WHERE expires_at IS NOT NULL
"""

ENDS = f"""
SELECT position, user_id, platform, actor_id AS viewer_id, occurred_at AS ended_at
FROM batch WHERE type = '{ENDED}' AND actor_id IS NOT NULL
"""

POLLS = f"""
SELECT position, user_id, platform, occurred_at AS polled_at,
    list_transform(coalesce(subscribers, []), lambda one: one.id) AS listed
FROM batch WHERE type = '{SNAPSHOT}' AND complete
"""

ENDINGS = """
SELECT 'ended', count(*), NULL::BIGINT FROM active_subscriptions_ended_now WHERE user_id = $user_id
UNION ALL SELECT platform, count(*), max(epoch_us(polled_at))
FROM active_subscriptions_polls_now WHERE user_id = $user_id GROUP BY platform
"""
_ENDED = "SELECT platform, viewer_id, ended_at FROM active_subscriptions_ended_now WHERE user_id = $user_id"
_POLLED = """, newest AS MATERIALIZED (
    SELECT position, platform, polled_at, polled_at + to_months(1) AS confirms_until, listed
    FROM active_subscriptions_polls_now WHERE user_id = $user_id AND ({newest})
)
"""
_UNLISTED = """
    SELECT fact.platform, fact.viewer_id, newest.polled_at AS ended_at
    FROM (SELECT DISTINCT platform, viewer_id FROM standing) AS fact JOIN newest USING (platform)
    ANTI JOIN (SELECT position, unnest(listed) AS viewer_id FROM newest) AS listed USING (position, viewer_id)
    UNION ALL
    SELECT fact.platform, fact.viewer_id, poll.polled_at
    FROM (
        SELECT standing.* FROM standing JOIN (SELECT DISTINCT platform, confirms_until FROM newest) USING (platform)
        WHERE expires_at > confirms_until
    ) AS fact JOIN active_subscriptions_polls_now AS poll
        ON poll.platform = fact.platform AND poll.polled_at >= fact.occurred_at
    WHERE poll.user_id = $user_id AND NOT list_contains(poll.listed, fact.viewer_id)
"""
"""Whom the newest list leaves out has ended by then. Whom it has is subscribed from then on for a month, whatever older
lists say: those count for what lasts longer alone, which is little."""
_STANDING = """
WITH standing AS MATERIALIZED (
    SELECT platform, viewer_id, occurred_at, expires_at FROM active_subscriptions_now
    WHERE user_id = $user_id AND expires_at > make_timestamptz($now_us::BIGINT)
        AND list_contains($platforms::VARCHAR[], platform)
) {polled}
"""
_JOINED = """
LEFT JOIN (
    SELECT platform, viewer_id, max(ended_at) AS ended_at FROM ({endings}) GROUP BY platform, viewer_id
) AS ended USING (platform, viewer_id) WHERE ended_at IS NULL OR occurred_at > ended_at
"""
TOTALS = f"{_STANDING} SELECT platform, count(DISTINCT viewer_id) FROM standing {{ended}} GROUP BY platform ORDER BY platform"
NEXT = f"""
{_STANDING} SELECT platform, viewer_id, max(epoch_us(expires_at)) AS expires_us FROM standing {{ended}}
GROUP BY platform, viewer_id QUALIFY rank() OVER (ORDER BY expires_us) <= $limit
"""


def _endings(reading: Reading) -> dict[str, str]:
    """SQL for what ended subscriptions, empty when nothing did."""
    (_, ends, _), *polls = reading.rows(ENDINGS)
    newest = " OR ".join(
        f"(platform = '{platform}' AND polled_at = make_timestamptz({us}))" for platform, _, us in polls
    )
    parts = ([_ENDED] if ends else []) + ([_UNLISTED] if polls else [])
    return {
        "polled": _POLLED.format(newest=newest) if polls else "",
        "ended": _JOINED.format(endings=" UNION ALL ".join(parts)) if parts else "",
    }


def _active(reading: Reading, sql: str, **parameters: Any) -> Rows:
    return reading.rows(sql.format(**reading.shared(_endings)), **parameters)


def totals(reading: Reading, *, now_us: int, platforms: Sequence[str]) -> Rows:
    """`ActiveTotalRow`, by platform, those of `platforms` that have any."""
    return _active(reading, TOTALS, now_us=now_us, platforms=list(platforms))


def preview(reading: Reading, *, now_us: int, platforms: Sequence[str], limit: int) -> Rows:
    """`ActivePreviewRow`, soonest first; ties by name casefolded, platform, id."""
    next_ones = _active(reading, NEXT, now_us=now_us, platforms=list(platforms), limit=limit)
    names = newest_names(reading, [row[:2] for row in next_ones])
    ranked = [(names[platform, id], platform, expires_us, id) for platform, id, expires_us in next_ones]
    ranked.sort(key=lambda row: (row[2], row[0].casefold(), row[1], row[3]))
    return [row[:3] for row in ranked[:limit]]


READ_MODEL = ReadModel(
    name="active_subscriptions",
    version=3,
    fold=(
        Fold("active_subscriptions", kinds=(NEW, RENEWAL, RECEIVED, GIFTS, SNAPSHOT), columns=COLUMNS, sql=FACTS),
        Fold("active_subscriptions_ended", kinds=(ENDED,), columns=ENDED_COLUMNS, sql=ENDS),
        Fold("active_subscriptions_polls", kinds=(SNAPSHOT,), columns=POLL_COLUMNS, sql=POLLS),
    ),
    queries=(
        Query(name="active_totals", row=ActiveTotalRow, answer=totals, parameters=("now_us", "platforms")),
        Query(name="active_preview", row=ActivePreviewRow, answer=preview, parameters=("now_us", "platforms", "limit")),
    ),
)
