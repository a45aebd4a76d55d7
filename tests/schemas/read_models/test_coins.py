from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from schemas.bounds import MAX_PRICE, MAX_QUANTITY
from schemas.event import Event
from schemas.first_party_kinds import CoinsAdjusted, GamblePlayed, LoyaltyRulesSet
from schemas.kinds import (
    ChatMessage,
    Cheered,
    Followed,
    KicksGifted,
    Raided,
    SubscriptionGiftReceived,
    SubscriptionGifts,
    SubscriptionNew,
    SubscriptionRenewal,
    Viewer,
)
from tests.projector import events as written
from tests.projector.events import ANN, BOB, CY, event, pushed
from tests.schemas.read_models.conftest import Ask

DAY_S = 86_400
RULES = ("chat_minute", "follow", "subscription", "gift", "kick", "bit", "adjustment", "gamble")


def chat(actor: Viewer, at: float, **more: Any) -> Event:
    return written.chat("hi", actor, at=at, **more)


def adjusted(amount: int, actor: Viewer = ANN, **more: Any) -> Event:
    return pushed(CoinsAdjusted(amount=amount), actor, **more)


def gambled(bet: int, payout: int, actor: Viewer = ANN, **more: Any) -> Event:
    return pushed(GamblePlayed(game_type="coinflip", outcome="win", bet=bet, payout=payout), actor, **more)


def rules(**coins: int) -> Event:
    return pushed(LoyaltyRulesSet(**coins))


def board(asked: Ask, log: list[Event], *, in_order: bool = False) -> dict[str, int]:
    """Coins by name, the greatest first."""
    rows = asked(log, "coins_leaderboard", in_order=in_order, limit=100)
    assert asked(log, "coins_summary", in_order=in_order) == [(sum(row[2] for row in rows), len(rows))]
    return {row[0]: row[2] for row in rows}


def account(asked: Ask, log: list[Event], name: str, platform: str = "kick", *, in_order: bool = False) -> Any:
    """What brought and took how many coins, without what brought none; the balance is their sum."""
    (row,) = asked(log, "coins_viewer", in_order=in_order, platform=platform, username=name)
    by_rule = dict(zip(RULES, row[5:], strict=True))
    assert row[3] == sum(by_rule.values())
    return {rule: coins for rule, coins in by_rule.items() if coins}


def rank(asked: Ask, log: list[Event], name: str, platform: str = "kick") -> int | None:
    ((_, _, _, _, place, *_),) = asked(log, "coins_viewer", platform=platform, username=name)
    found: int | None = place
    return found


def test_nobody_has_coins(asked: Ask) -> None:
    assert asked([], "coins_summary") == [(0, 0)]
    assert asked([], "coins_leaderboard", limit=25) == []


def test_every_minute_of_chat_pays_once(asked: Ask) -> None:
    log = [chat(ANN, 0), chat(ANN, 59.999999), chat(ANN, 60), chat(BOB, 0), chat(ANN, -0.000001)]
    assert asked(log, "coins_leaderboard", limit=25) == [("Ann", "kick", 3, 4, 2), ("Bob", "kick", 1, 4, 2)]
    assert asked(log, "coins_summary") == [(4, 2)]


def test_the_same_id_on_two_platforms_is_two_viewers(asked: Ask) -> None:
    log = [chat(ANN, 0), event(ChatMessage(message_id="t", message="hi"), ANN, platform="twitch")]
    assert asked(log, "coins_leaderboard", limit=25) == [("Ann", "kick", 1, 2, 2), ("Ann", "twitch", 1, 2, 2)]


def test_only_the_first_follow_pays(asked: Ask) -> None:
    log = [event(Followed(), ANN, at=9), event(Followed(), ANN, at=1), event(Followed(), BOB)]
    assert asked(log, "coins_leaderboard", limit=25) == [("Ann", "kick", 10, 20, 2), ("Bob", "kick", 10, 20, 2)]


def test_what_each_kind_brings(asked: Ask) -> None:
    log = [
        event(SubscriptionNew(months=1), ANN),
        event(SubscriptionGifts(count=2, giftees=(CY, BOB)), ANN),
        event(SubscriptionGifts(count=9), None),
        event(KicksGifted(amount=7), ANN),
        event(Cheered(amount=4), BOB, platform="twitch"),
        event(Cheered(amount=400), None, platform="twitch"),
        event(SubscriptionGiftReceived(), CY, platform="twitch"),
        event(Raided(viewers=50), CY, platform="twitch"),
    ]
    assert asked(log, "coins_leaderboard", limit=25) == [("Ann", "kick", 207, 211, 2), ("Bob", "twitch", 4, 211, 2)]
    assert asked(log, "coins_summary") == [(211, 2)]


def test_a_renewal_that_does_not_count_pays_nothing_whichever_came_first(asked: Ask) -> None:
    bought = event(SubscriptionNew(), ANN, platform="twitch")
    shared = event(SubscriptionRenewal(months=1, cumulative_months=5), ANN, platform="twitch", at=60)
    later = event(SubscriptionRenewal(months=1, cumulative_months=6), ANN, platform="twitch", at=86_400 * 31)
    assert asked([bought, shared], "coins_leaderboard", limit=25) == [("Ann", "twitch", 100, 100, 1)]
    assert asked([bought, later, shared], "coins_leaderboard", limit=25) == [("Ann", "twitch", 200, 200, 1)]


def test_the_newest_name_is_shown(asked: Ask) -> None:
    log = [chat(ANN, 0), chat(Viewer("1", "Anna"), 10), chat(Viewer("1", "Annie"), 5)]
    assert asked(log, "coins_leaderboard", limit=25) == [("Anna", "kick", 1, 1, 1)]


def test_a_giftee_of_kick_has_a_name(asked: Ask) -> None:
    log = [chat(Viewer("2", "bobby"), 0), event(SubscriptionGifts(count=1, giftees=(BOB,)), ANN, at=1)]
    assert asked(log, "coins_leaderboard", limit=25) == [("Ann", "kick", 50, 51, 2), ("Bob", "kick", 1, 51, 2)]


def test_another_broadcasters_viewers_are_not_counted(asked: Ask) -> None:
    assert asked([event(KicksGifted(amount=7), ANN, user_id=8)], "coins_summary") == [(0, 0)]


# ---------------------------------------------------------------------- adjustments and gambles


def test_adjustments_move_the_balance_and_have_no_price(asked: Ask) -> None:
    log = [rules(chat_minute=0, follow=0, subscription=0, gift=0, kick=0, bit=0), adjusted(50), adjusted(-20, at=-9)]
    assert board(asked, log) == {"Ann": 30}
    assert account(asked, log, "Ann") == {"adjustment": 30}


def test_a_gamble_moves_the_balance_by_payout_less_bet(asked: Ask) -> None:
    log = [adjusted(100), gambled(30, 0), gambled(20, 45), gambled(5, 5), gambled(0, 1, BOB)]
    assert board(asked, log) == {"Ann": 95, "Bob": 1}
    assert account(asked, log, "Ann") == {"adjustment": 100, "gamble": -5}


def test_balances_may_be_negative_and_only_positive_ones_count(asked: Ask) -> None:
    log = [chat(ANN, 0), gambled(6, 0), adjusted(7, BOB), adjusted(9, CY), adjusted(-9, CY)]
    assert board(asked, log) == {"Bob": 7}
    for name, of_rule in (("Ann", {"chat_minute": 1, "gamble": -6}), ("Cy", {})):
        assert account(asked, log, name) == of_rule
        assert rank(asked, log, name) is None


def test_sums_of_the_greatest_amounts_are_exact(asked: Ask) -> None:
    log = [adjusted(MAX_QUANTITY) for _ in range(3)] + [gambled(0, MAX_QUANTITY), adjusted(-1)]
    log += [rules(bit=MAX_PRICE), event(Cheered(amount=MAX_QUANTITY), BOB)]
    assert board(asked, log, in_order=True) == {"Bob": MAX_PRICE * MAX_QUANTITY, "Ann": 4 * MAX_QUANTITY - 1}


# ---------------------------------------------------------------------- rules


DEEDS: dict[str, Event] = {
    "chat_minute": chat(ANN, 0),
    "follow": event(Followed()),
    "subscription": event(SubscriptionNew(months=1)),
    "gift": event(SubscriptionGifts(count=1)),
    "kick": event(KicksGifted(amount=1)),
    "bit": event(Cheered(amount=1)),
}


@pytest.mark.parametrize("rule", DEEDS)
def test_a_rule_prices_its_deeds_after_it_in_the_log_whatever_the_time(asked: Ask, rule: str) -> None:
    log = [pushed(LoyaltyRulesSet(**{rule: 7}), at=DAY_S), *DEEDS.values()]
    defaults = {"chat_minute": 1, "follow": 10, "subscription": 100, "gift": 50, "kick": 1, "bit": 1}
    assert account(asked, log, "Ann", in_order=True) == defaults | {rule: 7}


@pytest.mark.parametrize("rule", DEEDS)
def test_a_later_rule_prices_nothing_anew(asked: Ask, rule: str) -> None:
    log = [*DEEDS.values(), pushed(LoyaltyRulesSet(**{rule: 1000}), at=-DAY_S)]
    assert board(asked, log, in_order=True) == {"Ann": 163}


def test_each_deed_has_the_price_in_force_at_its_place_in_the_log(asked: Ask) -> None:
    gifts = [event(KicksGifted(amount=1), at=-number) for number in range(4)]
    log = [gifts[0], rules(kick=10), gifts[1], rules(bit=5), gifts[2], rules(kick=100), gifts[3]]
    assert board(asked, log, in_order=True) == {"Ann": 1 + 10 + 10 + 100}


def test_rules_of_another_broadcaster_price_nothing(asked: Ask) -> None:
    log = [pushed(LoyaltyRulesSet(kick=9), user_id=8), event(KicksGifted(amount=1))]
    assert board(asked, log, in_order=True) == {"Ann": 1}


def test_a_dropped_copy_of_rules_changes_no_price(asked: Ask) -> None:
    first = rules(kick=2)
    log = [first, rules(kick=3), replace(first, data=LoyaltyRulesSet(kick=4)), event(KicksGifted(amount=1))]
    assert board(asked, log, in_order=True) == {"Ann": 3}


def test_a_minute_pays_once_at_the_rate_of_its_first_message_in_the_log(asked: Ask) -> None:
    log = [chat(ANN, 59), rules(chat_minute=7), chat(ANN, 0), chat(BOB, 30), chat(ANN, 60)]
    assert board(asked, log, in_order=True) == {"Ann": 1 + 7, "Bob": 7}


def test_a_minute_that_paid_nothing_has_paid(asked: Ask) -> None:
    log = [rules(chat_minute=0), chat(ANN, 0), rules(chat_minute=5), chat(ANN, 1)]
    assert board(asked, log, in_order=True) == {}


def test_the_first_follow_pays_once_at_the_rate_at_its_place_in_the_log(asked: Ask) -> None:
    log = [event(Followed(), at=9), rules(follow=3), event(Followed(), at=1), event(Followed(), BOB)]
    assert board(asked, log, in_order=True) == {"Ann": 10, "Bob": 3}
    free = [rules(follow=0), event(Followed()), rules(follow=5), event(Followed(), at=9)]
    assert board(asked, free, in_order=True) == {}


def test_a_follow_on_each_platform_and_of_each_broadcaster_is_a_first_one(asked: Ask) -> None:
    log = [event(Followed()), event(Followed(), platform="twitch"), event(Followed(), user_id=8)]
    assert asked(log, "coins_summary") == [(20, 2)]
    assert asked(log, "coins_summary", user_id=8) == [(10, 1)]


def test_a_renewal_that_stops_to_count_takes_back_what_it_brought(asked: Ask) -> None:
    renewed = event(SubscriptionRenewal(months=1, cumulative_months=5), platform="twitch", at=60)
    bought = event(SubscriptionNew(), platform="twitch")
    log = [rules(subscription=7), renewed, rules(subscription=500), adjusted(9, platform="twitch")]
    assert account(asked, log, "Ann", "twitch", in_order=True) == {"subscription": 7, "adjustment": 9}
    log.append(bought)
    assert account(asked, log, "Ann", "twitch", in_order=True) == {"subscription": 500, "adjustment": 9}


def test_a_gift_brings_coins_to_the_gifter_for_each_and_none_to_those_who_receive(asked: Ask) -> None:
    log = [
        rules(gift=3),
        event(SubscriptionGifts(count=5, giftees=(BOB, CY)), ANN),
        event(SubscriptionGifts(count=9), None),
    ]
    assert board(asked, log, in_order=True) == {"Ann": 15}
    assert account(asked, log, "Bob", in_order=True) == {}


def test_the_broadcaster_and_bots_are_viewers_like_others(asked: Ask) -> None:
    streamer, bot = Viewer("84635624", "Streamer"), Viewer("5", "KickBot")
    log = [chat(streamer, 0, by_broadcaster=True), chat(streamer, 60, by_broadcaster=True), chat(bot, 0)]
    assert board(asked, log) == {"Streamer": 2, "KickBot": 1}


# ---------------------------------------------------------------------- a viewer


def test_nobody_is_called_so(asked: Ask) -> None:
    log = [chat(ANN, 0)]
    for platform, name in (("kick", "Bob"), ("twitch", "Ann"), ("streamkit", "Ann")):
        assert asked(log, "coins_viewer", platform=platform, username=name) == []


def test_a_viewer_is_told_by_rule_with_balance_and_rank(asked: Ask) -> None:
    log = [*DEEDS.values(), chat(ANN, 60), adjusted(-3), gambled(1, 11), adjusted(1000, BOB)]
    (row,) = asked(log, "coins_viewer", platform="kick", username="aNN")
    assert row == ("Ann", "kick", "1", 171, 2, 2, 10, 100, 50, 1, 1, -3, 10)


def test_a_viewer_who_renames_keeps_the_balance_and_shows_the_newest_name(asked: Ask) -> None:
    log = [adjusted(5), chat(ANN, 0), chat(Viewer("1", "Anna"), 60), adjusted(2, Viewer("1", "Of the bot"), at=99)]
    assert board(asked, log) == {"Anna": 9}
    assert account(asked, log, "Anna") == {"chat_minute": 2, "adjustment": 7}
    assert asked(log, "coins_viewer", platform="kick", username="Ann") == []


def test_one_name_on_two_platforms_is_two_viewers_with_balances_of_their_own(asked: Ask) -> None:
    log = [adjusted(5), adjusted(8, platform="twitch"), chat(ANN, 0, platform="twitch")]
    assert asked(log, "coins_leaderboard", limit=25) == [("Ann", "twitch", 9, 14, 2), ("Ann", "kick", 5, 14, 2)]
    assert account(asked, log, "Ann") == {"adjustment": 5}
    assert account(asked, log, "Ann", "twitch") == {"chat_minute": 1, "adjustment": 8}
    assert (rank(asked, log, "Ann", "twitch"), rank(asked, log, "Ann")) == (1, 2)


def test_of_namesakes_the_one_seen_last_is_told_and_the_leaderboard_has_both(asked: Ask) -> None:
    log = [chat(ANN, 0), adjusted(9), chat(Viewer("2", "ANN"), 60)]
    assert asked(log, "coins_viewer", platform="kick", username="ann")[0][:5] == ("ANN", "kick", "2", 1, 2)
    assert board(asked, log) == {"Ann": 10, "ANN": 1}


def test_ties_go_by_casefolded_name_then_platform_then_id_in_leaderboard_and_rank(asked: Ask) -> None:
    order = [
        (Viewer("9", "alf"), "twitch"),
        (Viewer("10", "BOB"), "kick"),
        (Viewer("2", "Bob"), "kick"),
        (Viewer("1", "bob"), "twitch"),
        (Viewer("4", "STRASSE"), "kick"),
        (Viewer("3", "stra\u00dfe"), "twitch"),
        (Viewer("5", "\u017de\u0148a"), "kick"),
    ]
    log: list[Event] = [adjusted(5, viewer, platform=platform) for viewer, platform in reversed(order)]
    log.append(adjusted(6, CY))
    rows = asked(log, "coins_leaderboard", limit=25)
    assert [row[:2] for row in rows] == [("Cy", "kick"), *((viewer.name, platform) for viewer, platform in order)]
    assert [row[:3] for row in asked(log, "coins_leaderboard", limit=3)] == [row[:3] for row in rows[:3]]
    alone = {"alf": 2, "strasse": 6, "\u017dE\u0147A": 8}  # Bobs are namesakes
    for name, place in alone.items():
        assert rank(asked, log, name, "twitch" if name == "alf" else "kick") == place
    assert rank(asked, log, "bob", "twitch") == 5
