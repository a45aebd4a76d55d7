"""Examples worked out by hand that pin the oracle's coins: the rules in force, who has how many, and under what name."""

from __future__ import annotations

from schemas.first_party_kinds import CoinsAdjusted, GamblePlayed, GiveawayEntered, LoyaltyRulesSet
from schemas.kinds import (
    Cheered,
    Followed,
    KicksGifted,
    SubscriptionGifts,
    SubscriptionNew,
    SubscriptionRenewal,
    SubscriptionSnapshot,
    Viewer,
)
from tests.given import BEA, CAT, DAY, SECOND, Log, T, chat

# ---------------------------------------------------------------------- coins by rule


def test_rules_govern_what_comes_after_them_in_the_log_and_nothing_else() -> None:
    log = Log().twitch(Cheered(amount=3)).sent(LoyaltyRulesSet(bit=10, kick=0), by=None, at=T + DAY)
    log.twitch(Cheered(amount=3), at=T - DAY).kick(KicksGifted(amount=9), actor=BEA)  # happened before, arrived after
    assert log.board() == [("Ann", 33)]
    log.sent(LoyaltyRulesSet(kick=2), by=None, at=T - DAY).twitch(Cheered(amount=1)).kick(KicksGifted(amount=1))
    assert log.board() == [("Ann", 43), ("Ann", 2)]
    rules = {"chat_minute": 1, "follow": 10, "subscription": 100, "gift": 50, "kick": 2, "bit": 10}
    assert log.oracle.numbers(1).rules() == rules
    assert log.oracle.numbers(2).rules() == rules | {"kick": 1, "bit": 1}
    assert log.twitch(Cheered(amount=1), user_id=2).oracle.coins(2)["summary"]["total_coins"] == 1


def test_a_minute_pays_once_at_the_rate_of_its_first_message_in_the_log() -> None:
    log = Log().twitch(chat("a"), at=T + 59 * SECOND).sent(LoyaltyRulesSet(chat_minute=7), by=None)
    log.twitch(chat("b"), at=T).twitch(chat("c"), at=T + 60 * SECOND)
    assert log.board() == [("Ann", 8)]
    free = Log().sent(LoyaltyRulesSet(chat_minute=0), by=None).twitch(chat("a")).sent(LoyaltyRulesSet(chat_minute=5))
    assert free.twitch(chat("b")).board() == []  # paid, with nothing


def test_the_first_follow_in_the_log_pays() -> None:
    log = Log().twitch(Followed(), at=T + DAY).sent(LoyaltyRulesSet(follow=1), by=None).twitch(Followed())
    assert log.kick(Followed()).board() == [("Ann", 10), ("Ann", 1)]


def test_a_dropped_copy_of_rules_changes_no_price() -> None:
    log = Log().sent(LoyaltyRulesSet(bit=2), by=None, id="a").sent(LoyaltyRulesSet(bit=3), by=None, id="b")
    assert log.sent(LoyaltyRulesSet(bit=2), by=None, id="a").twitch(Cheered(amount=1)).board() == [("Ann", 3)]


def test_subscriptions_and_gifts_at_their_prices_and_a_suppressed_renewal_at_none() -> None:
    log = Log().twitch(SubscriptionNew()).sent(LoyaltyRulesSet(subscription=7, gift=3), by=None)
    log.twitch(SubscriptionRenewal(cumulative_months=5), at=T + 31 * DAY).twitch(SubscriptionGifts(count=5))
    log.kick(SubscriptionGifts(count=2, giftees=(BEA, CAT)), actor=None)
    assert log.board() == [("Ann", 100 + 7 + 15)]
    assert log.twitch(SubscriptionNew(), at=T + 31 * DAY).board() == [("Ann", 100 + 15 + 7)]


def test_balances_may_be_negative_and_totals_count_positive_ones() -> None:
    log = Log().sent(CoinsAdjusted(amount=-5)).sent(CoinsAdjusted(amount=7, reason="thanks"), by=BEA)
    log.sent(CoinsAdjusted(amount=9), by=CAT).sent(CoinsAdjusted(amount=-9), by=CAT)
    assert log.oracle.coins(1) == {
        "summary": {"total_coins": 7, "users_count": 1},
        "leaderboard": [{"username": "Bea", "coins": 7}],
    }
    ann = log.oracle.coins_viewer(1, "twitch", "ann")
    assert ann is not None
    assert (ann["coins"], ann["rank"], ann["earned"]["adjustment"]) == (-5, None, -5)


# ---------------------------------------------------------------------- viewers and their names


def test_a_viewer_is_looked_up_by_the_newest_name_in_any_case() -> None:
    log = Log().twitch(chat("hi"), actor=Viewer("1", "Straße")).twitch(Cheered(amount=4), actor=BEA)
    log.sent(GamblePlayed(game_type="g", outcome="win", bet=1, payout=3), by=Viewer("1", "Straße"))
    assert log.oracle.coins_viewer(1, "twitch", "STRASSE") == {
        "username": "Straße",
        "platform": "twitch",
        "id": "1",
        "coins": 3,
        "rank": 2,
        "earned": {
            "chat_minute": 1,
            "follow": 0,
            "subscription": 0,
            "gift": 0,
            "kick": 0,
            "bit": 0,
            "adjustment": 0,
            "gamble": 2,
        },
    }
    assert log.oracle.coins_viewer(1, "kick", "Straße") is None
    log.twitch(chat("hi"), at=T + SECOND, actor=Viewer("1", "Renamed"))
    assert log.oracle.coins_viewer(1, "twitch", "Straße") is None
    assert log.board() == [("Bea", 4), ("Renamed", 3)]


def test_of_several_of_one_name_the_one_seen_last() -> None:
    log = Log().twitch(Cheered(amount=1), at=T + DAY).twitch(Cheered(amount=9), actor=Viewer("2", "ANN"))
    found = log.oracle.coins_viewer(1, "twitch", "ann")
    assert found is not None
    assert (found["id"], found["rank"]) == ("1", 2)


def test_a_first_party_event_never_renames_whom_a_platform_has_named() -> None:
    log = Log().sent(CoinsAdjusted(amount=5), by=Viewer("1", "Bot's word"), at=T + DAY)
    assert log.board() == [("Bot's word", 5)]
    assert log.sent(GiveawayEntered(giveaway_id="g"), by=Viewer("1", "Newer word"), at=T + 2 * DAY).board() == [
        ("Newer word", 5)
    ]
    assert log.twitch(Cheered(amount=1), at=T - DAY).board() == [("Ann", 6)]
    listing = SubscriptionSnapshot(subscribers=(Viewer("1", "Listed"),))
    assert log.twitch(listing, at=T + 3 * DAY, actor=None).board() == [("Ann", 6)]
    assert log.kick(Followed(), actor=Viewer("1", "Of Kick")).board() == [("Of Kick", 10), ("Ann", 6)]
