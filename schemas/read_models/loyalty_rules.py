"""Which loyalty rules are in force: what does a viewer earn by which deed?

A `loyalty.rules_set` governs the events after it in the log, and leaves the rules that it does not name as they stood.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from schemas.read_models.model import Fold, Query, Reading, ReadModel, Rows

DEFAULTS = {"chat_minute": 1, "follow": 10, "subscription": 100, "gift": 50, "kick": 1, "bit": 1}
"""Coins by rule. `chat_minute`: each distinct UTC minute in which the viewer chatted; `follow`: the first one;
`subscription`: bought, or a renewal that counts; `gift`: each subscription gifted; `kick`, `bit`: each one given."""


class LoyaltyRulesRow(Struct, frozen=True, array_like=True):
    """Coins by rule, as they stand."""

    chat_minute: int
    follow: int
    subscription: int
    gift: int
    kick: int
    bit: int


RULES_SET = "loyalty.rules_set"
COLUMNS = f"position BIGINT, user_id BIGINT, {', '.join(f'{rule} BIGINT' for rule in DEFAULTS)}"
"""A rule that the event does not name is null."""

SETS = f"""
SELECT position, user_id, {", ".join(f"(first_party->>'{rule}')::BIGINT AS {rule}" for rule in DEFAULTS)}
FROM batch WHERE type = '{RULES_SET}'
"""

SETTLED_IN_FORCE = f"""
SELECT position, user_id,
    {", ".join(f"coalesce(last_value({rule} IGNORE NULLS) OVER sets, {DEFAULTS[rule]}) AS {rule}" for rule in DEFAULTS)}
FROM loyalty_rules
WINDOW sets AS (PARTITION BY user_id ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
"""
"""The rules in force after each position that set some, of all broadcasters."""

OF_BROADCASTER = (
    f"SELECT position, {', '.join(DEFAULTS)} FROM loyalty_rules_now WHERE user_id = $user_id ORDER BY position"
)


class InForce(Struct, frozen=True):
    """Coins by rule, for the events at positions after `position`."""

    position: int
    coins: dict[str, int]


def in_force(reading: Reading) -> list[InForce]:
    """The rules of the broadcaster, oldest first: the defaults, and as each change left them."""
    known = [InForce(-1, DEFAULTS)]
    for position, *coins in reading.rows(OF_BROADCASTER):
        named = {rule: value for rule, value in zip(DEFAULTS, coins, strict=True) if value is not None}
        known.append(InForce(position, known[-1].coins | named))
    return known


def price(rules: Sequence[InForce], rule: str, position: int) -> int:
    """What `rule` brings an event at `position`."""
    return next(each.coins[rule] for each in reversed(rules) if each.position < position)


def now(reading: Reading) -> Rows:
    """`LoyaltyRulesRow`, one."""
    return [tuple(reading.shared(in_force)[-1].coins.values())]


READ_MODEL = ReadModel(
    name="loyalty_rules",
    version=1,
    fold=(Fold(into="loyalty_rules", kinds=(RULES_SET,), columns=COLUMNS, sql=SETS),),
    queries=(Query(name="loyalty_rules", row=LoyaltyRulesRow, answer=now),),
)
