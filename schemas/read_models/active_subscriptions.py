"""Who is subscribed at a given moment, and whose subscription ends next?

Per viewer: the latest known end, and the facts (when, until when) after it that no later and longer one outdoes,
sorted. Merging them is commutative and idempotent, so the order of arrival does not matter; the expiry is the
greatest of what is left. The moment is a parameter of the question: there is no clock in here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

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
    user_id BIGINT, platform VARCHAR, viewer_id VARCHAR,
    ended_at TIMESTAMPTZ, unlisted_at TIMESTAMPTZ,
    facts STRUCT(occurred_at TIMESTAMPTZ, expires_at TIMESTAMPTZ)[],
    PRIMARY KEY (user_id, platform, viewer_id)
);
CREATE TABLE active_subscriptions_polls (
    user_id BIGINT, platform VARCHAR, polled_at TIMESTAMPTZ, PRIMARY KEY (user_id, platform)
);
"""
"""`ended_at`, `unlisted_at`: the latest told end, and the latest complete list without the viewer; null: none. `facts` ascend by `occurred_at` and descend by `expires_at`: the first is the expiry.
`..._polls`: the start of the newest complete list of subscribers; whoever is first met later was not on it."""

NEW = "channel.subscription.new"
RENEWAL = "channel.subscription.renewal"
GIFTS = "channel.subscription.gifts"
RECEIVED = "channel.subscription.gift_received"
ENDED = "channel.subscription.ended"
SNAPSHOT = "channel.subscription.snapshot"


def _standing(facts: str, ended_at: str) -> str:
    """The facts after the end that no later and longer one outdoes."""
    return f"""list_filter(list_sort(list_distinct({facts})), lambda fact:
        ({ended_at} IS NULL OR fact.occurred_at > {ended_at}) AND len(list_filter({facts}, lambda other:
            other <> fact AND other.occurred_at >= fact.occurred_at AND other.expires_at >= fact.expires_at)) = 0)"""


_FACTS = f"""
    SELECT user_id, platform, actor_id AS viewer_id, occurred_at,
        CASE WHEN type = '{ENDED}' THEN NULL WHEN platform = 'kick' THEN expires_at
            ELSE occurred_at + to_months(CASE type WHEN '{RENEWAL}' THEN coalesce(months, 1) ELSE 1 END::INTEGER)
        END AS expires_at,
        CASE type WHEN '{ENDED}' THEN occurred_at END AS ended_at
    FROM batch WHERE type IN ('{NEW}', '{RENEWAL}', '{RECEIVED}', '{ENDED}') AND actor_id IS NOT NULL
    UNION ALL
    SELECT user_id, platform, listed.id, occurred_at,
        CASE type WHEN '{GIFTS}' THEN expires_at ELSE occurred_at + to_months(1) END, NULL
    FROM (
        SELECT user_id, platform, type, occurred_at, expires_at, unnest(coalesce(giftees, subscribers)) AS listed
        FROM batch WHERE (type = '{GIFTS}' AND platform = 'kick') OR (type = '{SNAPSHOT}' AND complete)
    )
"""

MERGE = f"""
INSERT INTO active_subscriptions
SELECT user_id, platform, viewer_id, ended_at, unlisted_at, {_standing("facts", "greatest(ended_at, unlisted_at)")}
FROM (
    SELECT user_id, platform, viewer_id,
        max(ended_at) AS ended_at, max(polled_at) AS unlisted_at,
        coalesce(list({{occurred_at: occurred_at, expires_at: expires_at}}) FILTER (expires_at IS NOT NULL), [])
            AS facts
    FROM ({_FACTS}) LEFT JOIN active_subscriptions_polls USING (user_id, platform)
    WHERE expires_at IS NOT NULL OR ended_at IS NOT NULL
    GROUP BY user_id, platform, viewer_id
)
ON CONFLICT DO UPDATE SET
    ended_at = greatest(active_subscriptions.ended_at, excluded.ended_at),
    facts = {
    _standing(
        "list_concat(active_subscriptions.facts, excluded.facts)",
        "greatest(active_subscriptions.ended_at, active_subscriptions.unlisted_at, excluded.ended_at)",
    )
}
"""

UNLISTED = f"""
UPDATE active_subscriptions AS viewer
SET unlisted_at = greatest(viewer.unlisted_at, unlisted.polled_at),
    facts = list_filter(viewer.facts, lambda fact: fact.occurred_at > unlisted.polled_at)
FROM (
    SELECT known.user_id, known.platform, known.viewer_id, max(poll.occurred_at) AS polled_at
    FROM active_subscriptions AS known JOIN batch AS poll USING (user_id, platform)
    WHERE poll.type = '{SNAPSHOT}' AND poll.complete
        AND NOT list_contains(list_transform(coalesce(poll.subscribers, []), lambda one: one.id), known.viewer_id)
    GROUP BY known.user_id, known.platform, known.viewer_id
) AS unlisted
WHERE viewer.user_id = unlisted.user_id AND viewer.platform = unlisted.platform
    AND viewer.viewer_id = unlisted.viewer_id
"""

POLLS = f"""
INSERT INTO active_subscriptions_polls
SELECT user_id, platform, max(occurred_at) FROM batch WHERE type = '{SNAPSHOT}' AND complete
GROUP BY user_id, platform
ON CONFLICT DO UPDATE SET polled_at = greatest(active_subscriptions_polls.polled_at, excluded.polled_at)
"""

_ACTIVE = """
SELECT user_id, platform, viewer_id, facts[1].expires_at AS expires_at FROM active_subscriptions
WHERE user_id = $user_id AND list_contains($platforms::VARCHAR[], platform)
    AND epoch_us(facts[1].expires_at) > $now_us
"""

TOTALS = f"SELECT platform, count(*) FROM ({_ACTIVE}) GROUP BY platform ORDER BY platform"

PREVIEW = f"""
WITH active AS MATERIALIZED ({_ACTIVE}),
next AS MATERIALIZED (
    SELECT * FROM active
    WHERE expires_at <= (SELECT max(expires_at) FROM (SELECT expires_at FROM active ORDER BY expires_at LIMIT $limit))
)
SELECT name, platform, epoch_us(expires_at), viewer_id
FROM next JOIN coins_viewers USING (user_id, platform, viewer_id)
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
        Fold(kinds=frozenset({NEW, RENEWAL, GIFTS, RECEIVED, ENDED, SNAPSHOT}), sql=MERGE),
        Fold(kinds=frozenset({SNAPSHOT}), sql=UNLISTED),
        Fold(kinds=frozenset({SNAPSHOT}), sql=POLLS),
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
