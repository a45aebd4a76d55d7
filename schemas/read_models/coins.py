"""Who are the viewers of a broadcaster, what are they called now, and how many loyalty coins do they hold?

A viewer is (platform, platform user id). `coins_viewers` has a row for everyone an event has named, so rankings of
other read models find the newest name here. Rules are the defaults; what a later event can take back or must not
price again (a renewal, a first follow) is kept with the price it had.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from schemas.kinds import KINDS
from schemas.read_models.model import Fold, Query, ReadModel

CHAT_MINUTE = 1
FOLLOW = 10
SUBSCRIPTION = 100
GIFT = 50
KICK = 1
BIT = 1


class CoinsSummaryRow(Struct, frozen=True, array_like=True):
    """The sum of the balances above zero, and how many viewers have one."""

    total_coins: int
    users_count: int


class CoinsLeaderRow(Struct, frozen=True, array_like=True):
    """One viewer under the newest name, and the balance."""

    username: str
    platform: str
    coins: int


TABLES = """
CREATE TABLE coins_viewers (
    user_id BIGINT, platform VARCHAR, viewer_id VARCHAR,
    name VARCHAR, name_weight UTINYINT, named_at TIMESTAMPTZ, named_by VARCHAR,
    coins BIGINT, follow_coins BIGINT,
    PRIMARY KEY (user_id, platform, viewer_id)
);
CREATE TABLE coins_minutes (minute BIGINT, user_id BIGINT, platform VARCHAR, viewer_id VARCHAR);
"""
"""`named_by` is the event that told the name; a heavier one wins before a newer one: 2 a platform's event, 1 a
first-party event, 0 a list of subscribers. `follow_coins`: what the first follow brought, null before it.
`coins_minutes`: the minutes (since 1970) that were paid; it grows with the log, so it has no key."""

_MINUTES = f"""
    INSERT INTO coins_minutes
    SELECT DISTINCT chat.minute, chat.user_id, chat.platform, chat.viewer_id
    FROM (
        SELECT epoch_us(occurred_at) // 60000000 AS minute, user_id, platform, actor_id AS viewer_id
        FROM batch WHERE type = 'chat.message.sent' AND actor_id IS NOT NULL
    ) AS chat
    ANTI JOIN coins_minutes AS paid USING (minute, user_id, platform, viewer_id)
    RETURNING user_id, platform, viewer_id, {CHAT_MINUTE} AS coins
"""

_TOLD = f"""
    SELECT user_id, platform, actor_id AS viewer_id,
        {{weight: CASE platform WHEN 'streamkit' THEN 1 ELSE 2 END, told_at: occurred_at, event_id: event_id,
          name: actor_name}} AS told,
        CASE type WHEN 'channel.subscription.gifts' THEN gift_count * {GIFT}
            WHEN 'kicks.gifted' THEN amount * {KICK} WHEN 'channel.cheered' THEN amount * {BIT} ELSE 0 END AS coins,
        CASE type WHEN 'channel.followed' THEN {FOLLOW} END AS follow_coins
    FROM batch WHERE actor_id IS NOT NULL
"""

_LISTED = """
    SELECT user_id, platform, listed.id,
        {weight: CASE type WHEN 'channel.subscription.gifts' THEN 2 ELSE 0 END, told_at: occurred_at,
         event_id: event_id, name: listed.name}, 0, NULL
    FROM (SELECT user_id, platform, type, occurred_at, event_id, unnest(coalesce(giftees, subscribers)) AS listed
          FROM batch WHERE type IN ('channel.subscription.gifts', 'channel.subscription.snapshot'))
"""

VIEWERS = f"""
WITH minutes AS ({_MINUTES}),
changes AS (
    {_TOLD}
    UNION ALL {_LISTED}
    UNION ALL SELECT user_id, platform, viewer_id, NULL, coins, NULL FROM minutes
)
INSERT INTO coins_viewers
SELECT user_id, platform, viewer_id, newest.name, newest.weight, newest.told_at, newest.event_id,
    coins + coalesce(follow_coins, 0), follow_coins
FROM (
    SELECT user_id, platform, viewer_id, max(told) AS newest, sum(coins)::BIGINT AS coins,
        max(follow_coins) AS follow_coins
    FROM changes GROUP BY user_id, platform, viewer_id
)
ON CONFLICT DO UPDATE SET
    name = CASE WHEN (excluded.name_weight, excluded.named_at, excluded.named_by)
            > (coins_viewers.name_weight, coins_viewers.named_at, coins_viewers.named_by)
        THEN excluded.name ELSE coins_viewers.name END,
    named_by = CASE WHEN (excluded.name_weight, excluded.named_at, excluded.named_by)
            > (coins_viewers.name_weight, coins_viewers.named_at, coins_viewers.named_by)
        THEN excluded.named_by ELSE coins_viewers.named_by END,
    named_at = CASE WHEN (excluded.name_weight, excluded.named_at, excluded.named_by)
            > (coins_viewers.name_weight, coins_viewers.named_at, coins_viewers.named_by)
        THEN excluded.named_at ELSE coins_viewers.named_at END,
    name_weight = greatest(excluded.name_weight, coins_viewers.name_weight),
    coins = coins_viewers.coins + excluded.coins
        - CASE WHEN coins_viewers.follow_coins IS NOT NULL THEN coalesce(excluded.follow_coins, 0) ELSE 0 END,
    follow_coins = coalesce(coins_viewers.follow_coins, excluded.follow_coins)
"""


def pay(changes: str) -> str:
    """An INSERT that adds `changes` (user_id, platform, viewer_id, coins) to balances of viewers who have a row."""
    return f"""
INSERT INTO coins_viewers (user_id, platform, viewer_id, coins)
SELECT user_id, platform, viewer_id, sum(coins)::BIGINT FROM ({changes}) WHERE viewer_id IS NOT NULL
GROUP BY user_id, platform, viewer_id
ON CONFLICT DO UPDATE SET coins = coins_viewers.coins + excluded.coins
"""


SUMMARY = """
SELECT coalesce(sum(coins), 0)::BIGINT, count(*) FROM coins_viewers WHERE user_id = $user_id AND coins > 0
"""

LEADERBOARD = """
WITH mine AS MATERIALIZED (
    SELECT name, platform, coins, viewer_id FROM coins_viewers WHERE user_id = $user_id AND coins > 0
)
SELECT name, platform, coins, viewer_id FROM mine
WHERE coins >= (SELECT min(coins) FROM (SELECT coins FROM mine ORDER BY coins DESC LIMIT $limit))
"""


def rank(rows: list[tuple[Any, ...]], parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """The leaders in order; the ties, which SQL cannot compare casefolded, are settled here."""
    rows.sort(key=lambda row: (-row[2], row[0].casefold(), row[1], row[3]))
    return [row[:3] for row in rows[: parameters["limit"]]]


READ_MODEL = ReadModel(
    name="coins",
    version=1,
    tables=TABLES,
    fold=(Fold(kinds=frozenset(KINDS), sql=VIEWERS),),
    queries=(
        Query(name="coins_summary", sql=SUMMARY, row=CoinsSummaryRow),
        Query(name="coins_leaderboard", sql=LEADERBOARD, row=CoinsLeaderRow, parameters=("limit",), finish=rank),
    ),
)
