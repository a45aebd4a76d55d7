"""How many loyalty coins do a broadcaster's viewers hold?

What a deed brings is settled by the rules in force at its place in the log, and kept with it: a minute pays once, a
follow pays once, and a later rule re-prices nothing. A viewer is (platform, platform user id).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from msgspec import Struct

from schemas.read_models import loyalty_rules
from schemas.read_models.loyalty_rules import DEFAULTS, SETTLED_IN_FORCE, price
from schemas.read_models.model import Query, Reading, ReadModel, Rows, lately
from schemas.read_models.subscription_history import late
from schemas.read_models.viewers import NAMED, TOLD, newest, newest_names


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


class CoinsViewerRow(Struct, frozen=True, array_like=True):
    """One viewer under the newest name: the balance, its place in the leaderboard (None: not above zero), and what
    earned or took it."""

    username: str
    platform: str
    viewer_id: str
    coins: int
    rank: int | None
    chat_minute: int
    follow: int
    subscription: int
    gift: int
    kick: int
    bit: int
    adjustment: int
    gamble: int


LEVELS = 3
STRETCHES_TOGETHER = 16
"""Each level's stretches of the log are so many of the level before."""

_LEVEL_TABLE = f"""
CREATE TABLE coins_viewers_{{level}} (
    stretch BIGINT, user_id BIGINT, platform VARCHAR, viewer_id VARCHAR, told {TOLD}, coins HUGEINT
);
"""

TABLES = f"""
{"".join(_LEVEL_TABLE.format(level=level) for level in range(1, LEVELS + 1))}
CREATE VIEW coins_viewers AS
{" UNION ALL ".join(f"SELECT * FROM coins_viewers_{level}" for level in range(1, LEVELS + 1))};
CREATE TABLE coins_minutes (
    minute BIGINT, user_id BIGINT, platform VARCHAR, viewer_id VARCHAR, position BIGINT, coins BIGINT
);
CREATE TABLE coins_earned (
    position BIGINT, user_id BIGINT, platform VARCHAR, viewer_id VARCHAR, rule VARCHAR, coins BIGINT
);
"""
"""`coins_minutes` has the minutes in which viewers chatted (from 1970), with the position of the message that paid;
`coins_earned` all else that brought or took coins. `coins_viewers_1` has a row for each viewer of whom a settled
stretch of the log tells: the newest name in it, and the coins. Sixteen stretches are taken together in the next level,
and so on, so that no table is ever updated and a balance is the sum of a few rows."""

CHAT = "chat.message.sent"
FOLLOW = "channel.followed"
MINUTE_US = 60_000_000

QUANTITIES = {
    "channel.subscription.gifts": ("gift", "gift_count"),
    "kicks.gifted": ("kick", "amount"),
    "channel.cheered": ("bit", "amount"),
    "coins.adjusted": ("adjustment", "amount"),
    "gamble.played": ("gamble", "(first_party->>'payout')::BIGINT - (first_party->>'bet')::BIGINT"),
}
"""The kinds that bring coins each by itself: under which rule, and for how many of what. Adjustments and gambles have no
price."""


def _case(of: str, values: dict[str, str], otherwise: str = "NULL") -> str:
    return (
        f"CASE {of} {' '.join(f'''WHEN '{key}' THEN {value}''' for key, value in values.items())} ELSE {otherwise} END"
    )


_KINDS = tuple(QUANTITIES)
_RULE = _case("type", {kind: f"'{rule}'" for kind, (rule, _) in QUANTITIES.items()})
_QUANTITY = _case("type", {kind: quantity for kind, (_, quantity) in QUANTITIES.items()})


def _priced(deeds: str) -> str:
    """`deeds` (position, user_id, platform, viewer_id, rule, quantity, …) with what each brings."""
    coins = _case("rule", {rule: f"coalesce(rules.{rule}, {coins})" for rule, coins in DEFAULTS.items()}, "1")
    return f"""
    SELECT deed.*, quantity * {coins} AS coins FROM ({deeds}) AS deed
    ASOF LEFT JOIN ({SETTLED_IN_FORCE}) AS rules ON rules.user_id = deed.user_id AND rules.position < deed.position
    """


_CHATTED = f"""
    SELECT epoch_us(occurred_at) // {MINUTE_US} AS minute, user_id, platform, actor_id AS viewer_id,
        min(position) AS position, 'chat_minute' AS rule, 1 AS quantity
    FROM batch WHERE type = '{CHAT}' AND actor_id IS NOT NULL GROUP BY minute, user_id, platform, actor_id
"""
MINUTES = f"""
INSERT INTO coins_minutes
SELECT minute, user_id, platform, viewer_id, position, coins FROM ({_priced(_CHATTED)}) AS chat
ANTI JOIN (
    SELECT * FROM coins_minutes WHERE minute IN (
        SELECT DISTINCT epoch_us(occurred_at) // {MINUTE_US} FROM batch WHERE type = '{CHAT}')
) AS paid USING (minute, user_id, platform, viewer_id)
ORDER BY user_id
"""

_DEEDS = f"""
    SELECT position, user_id, platform, actor_id AS viewer_id, {_RULE} AS rule, {_QUANTITY} AS quantity
    FROM batch WHERE type IN {_KINDS} AND actor_id IS NOT NULL
    UNION ALL
    SELECT position, user_id, platform, viewer_id, 'follow', 1 FROM (
        SELECT min(position) AS position, user_id, platform, actor_id AS viewer_id FROM batch
        WHERE type = '{FOLLOW}' AND actor_id IS NOT NULL GROUP BY user_id, platform, actor_id
    ) ANTI JOIN (SELECT user_id, platform, viewer_id FROM coins_earned WHERE rule = 'follow') AS paid
    USING (user_id, platform, viewer_id)
    UNION ALL
    SELECT position, user_id, platform, viewer_id, 'subscription', 1 FROM subscription_history
    WHERE position >= $from AND type <> 'channel.subscription.gifts' AND viewer_id IS NOT NULL AND position NOT IN (
        SELECT position FROM subscription_history_suppressed WHERE suppressed_at = position)
"""
EARNED = f"""
INSERT INTO coins_earned
SELECT position, user_id, platform, viewer_id, rule, coins FROM ({_priced(_DEEDS)}) ORDER BY user_id
"""

TAKEN_BACK = """
INSERT INTO coins_earned
SELECT suppressed.suppressed_at, earned.user_id, earned.platform, earned.viewer_id, earned.rule, -earned.coins
FROM subscription_history_suppressed AS suppressed JOIN coins_earned AS earned USING (position)
WHERE suppressed.suppressed_at >= $from AND suppressed.suppressed_at > position AND earned.rule = 'subscription'
"""
"""A renewal that counted is taken back where it stops to count."""

_WIDE = f"($every * {STRETCHES_TOGETHER})"
_COMPLETE = f"position >= ($from + {_WIDE} - 1) // {_WIDE} * {_WIDE} AND position < $to // {_WIDE} * {_WIDE}"
"""Of what is settled at once, the stretches of the second level that lie in it whole: they need not be taken together."""


def _viewers(level: int, within: str) -> str:
    return f"""
INSERT INTO coins_viewers_{level}
SELECT position // ($every * {STRETCHES_TOGETHER ** (level - 1)}) AS stretch, user_id, platform, viewer_id,
    max(told), sum(coins)
FROM (
    SELECT *, 0 AS coins FROM ({NAMED})
    UNION ALL BY NAME SELECT position, user_id, platform, viewer_id, coins FROM coins_minutes WHERE position >= $from
    UNION ALL BY NAME SELECT position, user_id, platform, viewer_id, coins FROM coins_earned WHERE position >= $from
) WHERE {within} GROUP BY stretch, user_id, platform, viewer_id ORDER BY user_id
"""


VIEWERS = (_viewers(2, _COMPLETE), _viewers(1, f"NOT ({_COMPLETE})"))


def _taken_together(level: int) -> tuple[str, str]:
    """Take the complete stretches of `level` into the next one, a broadcaster's rows side by side."""
    complete = f"stretch // {STRETCHES_TOGETHER} < $to // ($every * {STRETCHES_TOGETHER**level})"
    return (
        f"""
INSERT INTO coins_viewers_{level + 1}
SELECT stretch // {STRETCHES_TOGETHER} AS together, user_id, platform, viewer_id, max(told), sum(coins)
FROM coins_viewers_{level} WHERE {complete} GROUP BY together, user_id, platform, viewer_id ORDER BY together, user_id
""",
        f"DELETE FROM coins_viewers_{level} WHERE {complete}",
    )


# ------------------------------------------------------------------ questions

_SETTLED_PART = "SELECT platform, viewer_id, coins FROM coins_viewers WHERE user_id = $user_id"

_MINUTES_PART = f"""
    SELECT platform, viewer_id, 'chat_minute' AS rule, coins FROM (
        SELECT epoch_us(occurred_at) // {MINUTE_US} AS minute, platform, actor_id AS viewer_id,
            arg_min({{chat_minute}}, position) AS coins
        FROM recent WHERE user_id = $user_id AND type = '{CHAT}' AND actor_id IS NOT NULL GROUP BY ALL
    ) AS chat ANTI JOIN (
        SELECT minute, platform, viewer_id FROM coins_minutes WHERE user_id = $user_id AND minute >= $first_minute
    ) AS paid USING (minute, platform, viewer_id)
"""
_FOLLOWS_PART = f"""
    SELECT platform, viewer_id, 'follow' AS rule, coins FROM (
        SELECT platform, actor_id AS viewer_id, arg_min({{follow}}, position) AS coins
        FROM recent WHERE user_id = $user_id AND type = '{FOLLOW}' AND actor_id IS NOT NULL GROUP BY ALL
    ) AS follows ANTI JOIN (
        SELECT platform, viewer_id FROM coins_earned WHERE user_id = $user_id AND rule = 'follow'
    ) AS paid USING (platform, viewer_id)
"""
_DEEDS_PART = f"""
    SELECT platform, actor_id AS viewer_id, {_RULE} AS rule,
        ({_QUANTITY}) * {_case("type", {kind: f"({{{rule}}})" for kind, (rule, _) in QUANTITIES.items() if rule in DEFAULTS}, "1")} AS coins
    FROM recent WHERE user_id = $user_id AND type IN {_KINDS} AND actor_id IS NOT NULL
"""
_SUBSCRIPTIONS_PART = """
    SELECT unnest($platforms::VARCHAR[]) AS platform, unnest($viewers::VARCHAR[]) AS viewer_id,
        'subscription' AS rule, unnest($coins::BIGINT[]) AS coins
"""

BALANCES = """
SELECT platform, viewer_id, sum(coins) AS balance FROM ({parts}) GROUP BY platform, viewer_id HAVING balance > 0
"""
TOTAL = "SELECT coalesce(sum(balance), 0), count(*) FROM ({balances})"
LEADERS = """
SELECT platform, viewer_id, balance, sum(balance) OVER (), count(*) OVER ()
FROM ({balances}) QUALIFY rank() OVER (ORDER BY balance DESC) <= $limit
"""


class Earning(Struct, frozen=True):
    """SQL for (platform, viewer_id, rule, coins) of what the recent events bring, and its parameters."""

    parts: list[str]
    parameters: dict[str, Any]


def _prices(reading: Reading) -> dict[str, str]:
    """SQL for what each rule brings an event, by its `position`."""
    rules = reading.shared(loyalty_rules.in_force)
    of_recent = [each for each in rules if each.position >= reading.settled]
    before = rules[len(rules) - len(of_recent) - 1]
    return {
        rule: "".join(
            f"CASE WHEN position > {each.position} THEN {each.coins[rule]} ELSE " for each in reversed(of_recent)
        )
        + str(before.coins[rule])
        + " END" * len(of_recent)
        for rule in DEFAULTS
    }


def recently_earned(reading: Reading) -> Earning:
    """What the recent events bring and take, in no more parts than there are kinds of them."""
    if not reading.recent:
        return Earning([], {})
    parts, parameters = [], dict[str, Any]()
    prices = reading.shared(_prices)
    if CHAT in reading.recent:
        parts.append(_MINUTES_PART.format_map(prices))
        parameters["first_minute"] = reading.recent[CHAT].first_us // MINUTE_US
    if FOLLOW in reading.recent:
        parts.append(_FOLLOWS_PART.format_map(prices))
    if not reading.recent.keys().isdisjoint(_KINDS):
        parts.append(_DEEDS_PART.format_map(prices))
    subscriptions = _subscriptions_lately(reading)
    if subscriptions:
        parts.append(_SUBSCRIPTIONS_PART)
        platforms, viewers = zip(*subscriptions, strict=True)
        parameters |= {"platforms": platforms, "viewers": viewers, "coins": list(subscriptions.values())}
    return Earning(parts, parameters)


PAID_FOR = "SELECT position, coins FROM coins_earned WHERE user_id = $user_id AND list_contains($positions::BIGINT[], position)"


def _subscriptions_lately(reading: Reading) -> Counter[tuple[str, str]]:
    """What the recent events give and take for subscriptions, by (platform, viewer id)."""
    coins: Counter[tuple[str, str]] = Counter()
    known = reading.shared(late)
    rules = reading.shared(loyalty_rules.in_force)
    for row in known.rows:
        if row.viewer_id is not None and row.is_subscription and row.suppressed_at is None:
            coins[row.platform, row.viewer_id] += price(rules, "subscription", row.position)
    if known.suppressed:
        paid: dict[int, int] = dict(reading.rows(PAID_FOR, positions=[row.position for row in known.suppressed]))
        for row in known.suppressed:
            if row.viewer_id is not None:
                coins[row.platform, row.viewer_id] -= paid[row.position]
    return coins


def _balances(reading: Reading) -> tuple[str, dict[str, Any]]:
    """The SQL of all balances above zero, and its parameters."""
    earning = reading.shared(recently_earned)
    late_parts = [f"SELECT platform, viewer_id, coins FROM ({part})" for part in earning.parts]
    return BALANCES.format(parts=" UNION ALL ".join([_SETTLED_PART, *late_parts])), earning.parameters


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


_RULES = (*DEFAULTS, "adjustment", "gamble")

_CALLED_SO = """
WHERE user_id = $user_id AND platform = $platform
    AND (platform || lower(told.name) = $called OR strlen(told.name) <> length(told.name))
"""
"""Beyond ASCII `lower` is not `casefold`: those names are compared in Python. Of two columns, as in viewers.py."""
NAMED_SO = f"SELECT DISTINCT viewer_id FROM coins_viewers {_CALLED_SO}"
RECENTLY_NAMED_SO = f"SELECT DISTINCT viewer_id FROM ({lately(NAMED)}) {_CALLED_SO}"
_OF_VIEWER = "SELECT {rule} AS rule, coins FROM {table} WHERE user_id = $user_id AND platform = $platform AND viewer_id = $viewer_id"
BY_RULE = """
SELECT rule, sum(coins) FROM ({parts}) GROUP BY rule
"""
AT_LEAST = "SELECT platform, viewer_id, balance FROM ({balances}) WHERE balance >= $least"


def viewer(reading: Reading, *, platform: str, username: str) -> Rows:
    """`CoinsViewerRow`, one, or none when no viewer of the platform is called so now. Of several the one that the newest
    event named."""
    folded = username.casefold()
    asked = {"platform": platform, "called": platform + folded}
    found = reading.rows(NAMED_SO, **asked)
    if reading.recent:
        found += reading.rows(RECENTLY_NAMED_SO, **asked)
    told = newest(reading, [(platform, viewer_id) for (viewer_id,) in found])
    called_so = [
        (name[1:3], viewer_id)
        for (of, viewer_id), name in told.items()
        if of == platform and name[3].casefold() == folded
    ]
    if not called_so:
        return []
    last_seen = max(place for place, _ in called_so)
    viewer_id = min(viewer_id for place, viewer_id in called_so if place == last_seen)
    by_rule = _by_rule(reading, platform, viewer_id)
    coins = sum(by_rule.values())
    rank = _rank(reading, platform, viewer_id, coins) if coins > 0 else None
    return [
        (told[platform, viewer_id][3], platform, viewer_id, coins, rank, *(by_rule.get(rule, 0) for rule in _RULES))
    ]


def _by_rule(reading: Reading, platform: str, viewer_id: str) -> dict[str, int]:
    earning = reading.shared(recently_earned)
    parts = [
        _OF_VIEWER.format(rule="rule", table="coins_earned"),
        _OF_VIEWER.format(rule="'chat_minute'", table="coins_minutes"),
    ]
    parts += [
        f"SELECT rule, coins FROM ({part}) WHERE platform = $platform AND viewer_id = $viewer_id"
        for part in earning.parts
    ]
    asked = {"platform": platform, "viewer_id": viewer_id, **earning.parameters}
    return dict(reading.rows(BY_RULE.format(parts=" UNION ALL ".join(parts)), **asked))


def _rank(reading: Reading, platform: str, viewer_id: str, coins: int) -> int:
    """The place in the whole leaderboard, from 1."""
    sql, parameters = reading.shared(_balances)
    rows = reading.rows(AT_LEAST.format(balances=sql), least=coins, **parameters)
    tied = [row[:2] for row in rows if row[2] == coins]
    names = newest_names(reading, tied)
    tied.sort(key=lambda viewer: (names[viewer].casefold(), *viewer))
    return len(rows) - len(tied) + tied.index((platform, viewer_id)) + 1


READ_MODEL = ReadModel(
    name="coins",
    version=5,
    tables=TABLES,
    settle=(MINUTES, EARNED, TAKEN_BACK, *VIEWERS, *_taken_together(1), *_taken_together(2)),
    queries=(
        Query(name="coins_summary", row=CoinsSummaryRow, answer=summary),
        Query(name="coins_leaderboard", row=CoinsLeaderRow, answer=leaderboard, parameters=("limit",)),
        Query(name="coins_viewer", row=CoinsViewerRow, answer=viewer, parameters=("platform", "username")),
    ),
)
