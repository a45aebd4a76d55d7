"""Who are the viewers of a broadcaster, what are they called now, and how many loyalty coins do they hold?

A viewer is (platform, platform user id). Rules are the defaults; what a later event can take back or must not pay
again (a renewal, a minute, the first follow) is kept with its price.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from schemas.read_models.model import Query, ReadModel
from schemas.read_models.subscription_history import MINE, coins_earned

CHAT_MINUTE = 1
FOLLOW = 10
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


LEVELS = 3
STRETCHES_TOGETHER = 16
"""Each level's stretches of the log are so many of the level before."""

_LEVEL_TABLE = """
CREATE TABLE coins_viewers_{level} (
    stretch BIGINT, user_id BIGINT, platform VARCHAR, viewer_id VARCHAR,
    name VARCHAR, name_weight UTINYINT, named_at TIMESTAMPTZ, named_by VARCHAR,
    coins BIGINT, follow_coins BIGINT, followed_at BIGINT
);
"""

TABLES = f"""
{"".join(_LEVEL_TABLE.format(level=level) for level in range(1, LEVELS + 1))}
CREATE VIEW coins_viewers AS
{" UNION ALL ".join(f"SELECT * FROM coins_viewers_{level}" for level in range(1, LEVELS + 1))};
CREATE TABLE coins_minutes (
    minute BIGINT, user_id BIGINT, platform VARCHAR, viewer_id VARCHAR, position BIGINT, coins BIGINT
);
"""
"""`coins_viewers_1` has a row for each viewer whom a settled stretch of the log tells of: what it is called by it and
what it earned. Sixteen stretches are taken together in the next level, and so on, so that no table is ever updated.
`named_by` is the event that told the name; a heavier one wins before a newer one: 2 a platform's event, 1 a
first-party event, 0 a list of subscribers. `follow_coins`: what the first follow brings, which lies at `followed_at`;
`coins` is all the rest. `minute` counts from 1970; `position` is that of the message that paid it."""

_MINUTES = f"""
    SELECT epoch_us(occurred_at) // 60000000 AS minute, user_id, platform, actor_id AS viewer_id,
        min(position) AS position, {CHAT_MINUTE}::BIGINT AS coins
    FROM {{events}} WHERE type = 'chat.message.sent' AND actor_id IS NOT NULL
    GROUP BY minute, user_id, platform, actor_id
"""

_TOLD = "{'weight': name_weight, 'told_at': named_at, 'event_id': named_by, 'name': name}"

_CHANGES = f"""
    SELECT position, user_id, platform, actor_id AS viewer_id, actor_name AS name,
        CASE platform WHEN 'streamkit' THEN 1 ELSE 2 END AS name_weight, occurred_at AS named_at, event_id AS named_by,
        CASE type WHEN 'channel.subscription.gifts' THEN gift_count * {GIFT} WHEN 'kicks.gifted' THEN amount * {KICK}
            WHEN 'channel.cheered' THEN amount * {BIT} ELSE 0 END AS coins,
        CASE type WHEN 'channel.followed' THEN {FOLLOW} END AS follow_coins,
        CASE type WHEN 'channel.followed' THEN position END AS followed_at
    FROM {{events}} WHERE actor_id IS NOT NULL
    UNION ALL
    SELECT position, user_id, platform, viewer.id, viewer.name,
        CASE type WHEN 'channel.subscription.gifts' THEN 2 ELSE 0 END, occurred_at, event_id, 0, NULL, NULL
    FROM (
        SELECT position, user_id, platform, type, occurred_at, event_id,
            unnest(coalesce(giftees, subscribers)) AS viewer
        FROM {{events}} WHERE type IN ('channel.subscription.gifts', 'channel.subscription.snapshot')
    )
"""

MINUTES = f"""
INSERT INTO coins_minutes
SELECT chat.* FROM ({_MINUTES.format(events="batch")}) AS chat
ANTI JOIN coins_minutes AS paid USING (minute, user_id, platform, viewer_id)
"""

_TOGETHER = f"""
    max({_TOLD}) FILTER (name IS NOT NULL) AS told, sum(coins)::BIGINT AS coins,
    arg_min(follow_coins, followed_at) AS follow_coins, min(followed_at) AS followed_at
"""
_ROW = """
    stretch, user_id, platform, viewer_id, told.name, told.weight, told.told_at, told.event_id, coins, follow_coins,
    followed_at
"""

VIEWERS = f"""
INSERT INTO coins_viewers_1 SELECT {_ROW} FROM (
    SELECT position // $every AS stretch, user_id, platform, viewer_id, {_TOGETHER} FROM (
        {_CHANGES.format(events="batch")}
        UNION ALL BY NAME
        SELECT position, user_id, platform, viewer_id, coins FROM coins_minutes
        WHERE position >= $from AND position < $to
        UNION ALL BY NAME ({coins_earned("subscription_history", "$from", "$to")})
    ) GROUP BY stretch, user_id, platform, viewer_id
)
"""


def _taken_together(level: int) -> tuple[str, str]:
    """Take the complete stretches of `level` into the next one, a broadcaster's rows side by side."""
    complete = f"stretch // {STRETCHES_TOGETHER} < $to // ($every * {STRETCHES_TOGETHER**level})"
    return (
        f"""
INSERT INTO coins_viewers_{level + 1} SELECT {_ROW} FROM (
    SELECT stretch // {STRETCHES_TOGETHER} AS stretch, user_id, platform, viewer_id, {_TOGETHER}
    FROM (SELECT * FROM coins_viewers_{level} WHERE {complete}) GROUP BY ALL
) ORDER BY stretch, user_id
""",
        f"DELETE FROM coins_viewers_{level} WHERE {complete}",
    )


RECENTLY = f"""
    recently AS MATERIALIZED (SELECT * FROM recent WHERE user_id = $user_id),
    changes AS MATERIALIZED ({_CHANGES.format(events="recently")})"""
"""`changes`: what the broadcaster's recent events say of viewers, for a WITH clause."""

_BALANCES = f"""
    balances AS MATERIALIZED (
        SELECT platform, viewer_id,
            (sum(coins) + coalesce(arg_min(follow_coins, followed_at), 0))::BIGINT AS coins
        FROM (
            SELECT platform, viewer_id, coins, follow_coins, followed_at FROM coins_viewers WHERE user_id = $user_id
            UNION ALL BY NAME
            SELECT platform, viewer_id, coins, follow_coins, followed_at FROM changes
            WHERE coins <> 0 OR follow_coins IS NOT NULL
            UNION ALL BY NAME
            SELECT platform, viewer_id, coins FROM ({_MINUTES.format(events="recently")}) AS chat
            ANTI JOIN coins_minutes AS paid USING (minute, user_id, platform, viewer_id)
            UNION ALL BY NAME
            SELECT platform, viewer_id, coins FROM ({coins_earned("subscriptions_of", "$settled", None)})
        ) GROUP BY platform, viewer_id HAVING coins > 0
    )"""


def with_names(viewers: str) -> str:
    """The rows of `viewers`, a relation with platform and viewer_id, with the newest `name` of each; the WITH clause
    has RECENTLY."""
    return f"""
    SELECT named.told.name AS name, {viewers}.* FROM {viewers} JOIN (
        SELECT platform, viewer_id, max({_TOLD}) AS told
        FROM (
            SELECT platform, viewer_id, name, name_weight, named_at, named_by FROM coins_viewers
            WHERE user_id = $user_id AND name IS NOT NULL
            UNION ALL
            SELECT platform, viewer_id, name, name_weight, named_at, named_by FROM changes
        ) SEMI JOIN {viewers} USING (platform, viewer_id)
        GROUP BY platform, viewer_id
    ) AS named USING (platform, viewer_id)
    """


SUMMARY = f"""
WITH {RECENTLY}, {MINE}, {_BALANCES}
SELECT coalesce(sum(coins), 0)::BIGINT, count(*) FROM balances
"""

LEADERBOARD = f"""
WITH {RECENTLY}, {MINE}, {_BALANCES},
top AS MATERIALIZED (
    SELECT * FROM balances
    WHERE coins >= (SELECT min(coins) FROM (SELECT coins FROM balances ORDER BY coins DESC LIMIT $limit))
)
SELECT name, platform, coins, viewer_id FROM ({with_names("top")})
"""


def rank(rows: list[tuple[Any, ...]], parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """The leaders in order; the ties, which SQL cannot compare casefolded, are settled here."""
    rows.sort(key=lambda row: (-row[2], row[0].casefold(), row[1], row[3]))
    return [row[:3] for row in rows[: parameters["limit"]]]


READ_MODEL = ReadModel(
    name="coins",
    version=1,
    tables=TABLES,
    settle=(MINUTES, VIEWERS, *_taken_together(1), *_taken_together(2)),
    queries=(
        Query(name="coins_summary", sql=SUMMARY, row=CoinsSummaryRow),
        Query(name="coins_leaderboard", sql=LEADERBOARD, row=CoinsLeaderRow, parameters=("limit",), finish=rank),
    ),
)
