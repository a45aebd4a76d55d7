from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from schemas.bounds import MAX_PRICE
from schemas.event import Event
from schemas.first_party_kinds import LoyaltyRulesSet
from tests.projector.events import ANN, pushed
from tests.schemas.read_models.conftest import Ask

DEFAULTS = {"chat_minute": 1, "follow": 10, "subscription": 100, "gift": 50, "kick": 1, "bit": 1}


def rules(at: float = 0.0, **coins: int) -> Event:
    return pushed(LoyaltyRulesSet(**coins), at=at)


def in_force(asked: Ask, log: list[Event]) -> dict[str, Any]:
    (row,) = asked(log, "loyalty_rules", in_order=True)
    return dict(zip(DEFAULTS, row, strict=True))


def test_rules_stand_at_their_defaults(asked: Ask) -> None:
    assert in_force(asked, []) == DEFAULTS
    assert in_force(asked, [pushed(LoyaltyRulesSet(kick=9), user_id=8)]) == DEFAULTS, "of another broadcaster"


def test_all_rules_set_at_once(asked: Ask) -> None:
    coins = {rule: number for number, rule in enumerate(DEFAULTS)}
    assert in_force(asked, [rules(**coins)]) == coins


def test_a_rule_that_is_not_named_stays_as_it_stood(asked: Ask) -> None:
    log = [rules(kick=5, bit=6), rules(bit=7), rules(follow=0)]
    assert in_force(asked, log) == DEFAULTS | {"kick": 5, "bit": 7, "follow": 0}


def test_setting_nothing_changes_nothing(asked: Ask) -> None:
    assert in_force(asked, [rules(gift=4), rules()]) == DEFAULTS | {"gift": 4}


def test_nothing_and_the_greatest_price_are_prices(asked: Ask) -> None:
    assert in_force(asked, [rules(chat_minute=0, bit=MAX_PRICE)]) == DEFAULTS | {"chat_minute": 0, "bit": MAX_PRICE}


def test_the_last_in_the_log_stands_whatever_its_time(asked: Ask) -> None:
    assert in_force(asked, [rules(kick=5, at=9), rules(kick=6, at=-9)]) == DEFAULTS | {"kick": 6}


def test_whoever_is_named_as_the_one_who_set_them_makes_no_difference(asked: Ask) -> None:
    assert in_force(asked, [pushed(LoyaltyRulesSet(kick=5), ANN)]) == DEFAULTS | {"kick": 5}


def test_a_copy_of_an_earlier_setting_does_not_bring_it_back(asked: Ask) -> None:
    first, second = rules(kick=5), rules(kick=6)
    other_words = replace(first, data=LoyaltyRulesSet(kick=7))
    assert in_force(asked, [first, second, first, other_words]) == DEFAULTS | {"kick": 6}
