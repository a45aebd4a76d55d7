"""Who are the viewers of a broadcaster, what are they called now, and how many loyalty coins do they hold?

A viewer is (platform, platform user id). Rules are the defaults; what a later event can take back or must not pay
again (a renewal, a minute, the first follow) is kept with its price.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from schemas.read_models.model import Query, Reading, ReadModel, Rows, lately
from schemas.read_models.subscription_history import coins_earned, coins_lately

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
    """One viewer under the newest name, and the balance; in every row the same: the sum of all balances above zero,
    and how many viewers have one."""

    username: str
    platform: str
    coins: int
    total_coins: int
    users_count: int


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

CHAT = "chat.message.sent"
MINUTE_US = 60_000_000

_MINUTES = f"""
    SELECT epoch_us(occurred_at) // {MINUTE_US} AS minute, user_id, platform, actor_id AS viewer_id,
        min(position) AS position, {CHAT_MINUTE}::BIGINT AS coins
    FROM {{events}} WHERE type = '{CHAT}' AND actor_id IS NOT NULL {{where}}
    GROUP BY minute, user_id, platform, actor_id
"""

_COINS = f"""CASE type WHEN 'channel.subscription.gifts' THEN gift_count * {GIFT} WHEN 'kicks.gifted' THEN amount * {KICK}
    WHEN 'channel.cheered' THEN amount * {BIT} ELSE 0 END"""
_FOLLOW_COINS = f"CASE type WHEN 'channel.followed' THEN {FOLLOW} END"
_FOLLOWED_AT = "CASE type WHEN 'channel.followed' THEN position END"

_TOLD_BY_ACTORS = f"""
    SELECT position, user_id, platform, actor_id AS viewer_id, actor_name AS name,
        CASE platform WHEN 'streamkit' THEN 1 ELSE 2 END AS name_weight, occurred_at AS named_at, event_id AS named_by,
        {_COINS} AS coins, {_FOLLOW_COINS} AS follow_coins, {_FOLLOWED_AT} AS followed_at
    FROM batch WHERE actor_id IS NOT NULL
"""
LISTING = ("channel.subscription.gifts", "channel.subscription.snapshot")
_TOLD_BY_LISTS = f"""
    SELECT position, user_id, platform, viewer.id AS viewer_id, viewer.name AS name,
        CASE type WHEN 'channel.subscription.gifts' THEN 2 ELSE 0 END AS name_weight, occurred_at AS named_at,
        event_id AS named_by, 0 AS coins, NULL AS follow_coins, NULL AS followed_at
    FROM (
        SELECT position, user_id, platform, type, occurred_at, event_id,
            unnest(coalesce(giftees, subscribers)) AS viewer
        FROM batch WHERE type IN {LISTING}
    )
"""

MINUTES = f"""
INSERT INTO coins_minutes
SELECT chat.* FROM ({_MINUTES.format(events="batch", where="")}) AS chat
ANTI JOIN (
    SELECT * FROM coins_minutes WHERE minute IN (
        SELECT DISTINCT epoch_us(occurred_at) // {MINUTE_US} FROM batch WHERE type = '{CHAT}')
) AS paid USING (minute, user_id, platform, viewer_id)
"""

_TOLD = "{'weight': name_weight, 'told_at': named_at, 'event_id': named_by, 'name': name}"

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
        {_TOLD_BY_ACTORS} UNION ALL {_TOLD_BY_LISTS}
        UNION ALL BY NAME
        SELECT position, user_id, platform, viewer_id, coins FROM coins_minutes
        WHERE position >= $from AND position < $to
        UNION ALL BY NAME ({coins_earned("$from", "$to")})
    ) GROUP BY stretch, user_id, platform, viewer_id
) ORDER BY user_id
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


EARNING = ("channel.subscription.gifts", "kicks.gifted", "channel.cheered", "channel.followed")

_SETTLED_PART = """
    SELECT platform, viewer_id, coins, follow_coins, followed_at FROM coins_viewers WHERE user_id = $user_id
"""
_EARNED_PART = f"""
    UNION ALL SELECT platform, actor_id, {_COINS}, {_FOLLOW_COINS}, {_FOLLOWED_AT}
    FROM recent WHERE user_id = $user_id AND type IN {EARNING} AND actor_id IS NOT NULL
"""
FIRST_MINUTE = f"""
SELECT min(epoch_us(occurred_at)) // {MINUTE_US} FROM recent WHERE user_id = $user_id AND type = '{CHAT}'
"""
_MINUTES_PART = f"""
    UNION ALL SELECT platform, viewer_id, coins, NULL, NULL
    FROM ({_MINUTES.format(events="recent", where="AND user_id = $user_id")}) AS chat
    ANTI JOIN (
        SELECT minute, platform, viewer_id FROM coins_minutes WHERE user_id = $user_id AND minute >= $first_minute
    ) AS paid USING (minute, platform, viewer_id)
"""
_SUBSCRIPTIONS_PART = """
    UNION ALL SELECT unnest($platforms::VARCHAR[]), unnest($viewers::VARCHAR[]), unnest($coins::BIGINT[]), NULL, NULL
"""
_BALANCES = """
SELECT platform, viewer_id, (sum(coins) + coalesce(arg_min(follow_coins, followed_at), 0))::BIGINT AS balance
FROM ({parts}) GROUP BY platform, viewer_id HAVING balance > 0
"""
TOTAL = "SELECT coalesce(sum(balance), 0)::BIGINT, count(*) FROM ({balances})"
LEADERS = """
SELECT platform, viewer_id, balance, sum(balance) OVER ()::BIGINT, count(*) OVER ()
FROM ({balances}) QUALIFY rank() OVER (ORDER BY balance DESC) <= $limit
"""


def _balances(reading: Reading) -> tuple[str, dict[str, Any]]:
    """The SQL of all balances above zero, of no more parts than the broadcaster's recent events need, and its
    parameters."""
    parts, parameters = [_SETTLED_PART], dict[str, Any]()
    if not reading.recent.keys().isdisjoint(EARNING):
        parts.append(_EARNED_PART)
    if CHAT in reading.recent:
        parts.append(_MINUTES_PART)
        ((parameters["first_minute"],),) = reading.rows(FIRST_MINUTE)
    subscriptions = reading.shared(coins_lately)
    if subscriptions:
        parts.append(_SUBSCRIPTIONS_PART)
        platforms, viewers = zip(*subscriptions, strict=True)
        parameters |= {"platforms": platforms, "viewers": viewers, "coins": list(subscriptions.values())}
    return _BALANCES.format(parts="".join(parts)), parameters


def summary(reading: Reading) -> Rows:
    """`CoinsSummaryRow`, one."""
    sql, parameters = reading.shared(_balances)
    return reading.rows(TOTAL.format(balances=sql), **parameters)


def leaderboard(reading: Reading, *, limit: int) -> Rows:
    """`CoinsLeaderRow`, the greatest balance first; ties by name casefolded, platform, id."""
    sql, parameters = reading.shared(_balances)
    leaders = reading.rows(LEADERS.format(balances=sql), limit=limit, **parameters)
    names = newest_names(reading, [leader[:2] for leader in leaders])
    leaders.sort(key=lambda row: (-row[2], names[row[:2]].casefold(), *row[:2]))
    return [(names[row[:2]], row[0], *row[2:]) for row in leaders[:limit]]


_NAMES = "user_id = $user_id AND list_contains($viewers::VARCHAR[], viewer_id)"
SETTLED_NAMES = f"""
SELECT platform, viewer_id, name_weight, epoch_us(named_at), named_by, name FROM coins_viewers
WHERE {_NAMES} AND name IS NOT NULL
"""
_LATE_NAMES = f"""
SELECT platform, viewer_id, name_weight, epoch_us(named_at), named_by, name FROM ({{told}}) WHERE {_NAMES}
"""
LATE_NAMES = _LATE_NAMES.format(told=lately(_TOLD_BY_ACTORS))
LATE_LISTS = _LATE_NAMES.format(told=lately(_TOLD_BY_LISTS))


def newest_names(reading: Reading, viewers: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """The newest name of each of these (platform, viewer id), all of whom some event has named."""
    if not viewers:
        return {}
    sources = [SETTLED_NAMES]
    if reading.recent:
        sources.append(LATE_NAMES)
    if not reading.recent.keys().isdisjoint(LISTING):
        sources.append(LATE_LISTS)
    told: dict[tuple[str, str], tuple[Any, ...]] = {}
    ids = list({viewer_id for _, viewer_id in viewers})
    for sql in sources:
        for platform, viewer_id, *name in reading.rows(sql, viewers=ids):
            viewer = (platform, viewer_id)
            told[viewer] = max(told.get(viewer, (-1,)), tuple(name))
    return {viewer: told[viewer][-1] for viewer in viewers}


READ_MODEL = ReadModel(
    name="coins",
    version=3,
    tables=TABLES,
    settle=(MINUTES, VIEWERS, *_taken_together(1), *_taken_together(2)),
    queries=(
        Query(name="coins_summary", row=CoinsSummaryRow, answer=summary),
        Query(name="coins_leaderboard", row=CoinsLeaderRow, answer=leaderboard, parameters=("limit",)),
    ),
)
