from __future__ import annotations

from schemas.event import Event
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
from tests.projector.events import ANN, BOB, CY, event
from tests.schemas.read_models.conftest import Ask


def chat(actor: Viewer, at: float) -> Event:
    return event(ChatMessage(message_id=f"m{at}", message="hi"), actor, at=at)


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


def test_the_newest_name_is_shown_and_a_first_party_one_never_renames(asked: Ask) -> None:
    log = [chat(ANN, 0), chat(Viewer("1", "Anna"), 10), chat(Viewer("1", "Annie"), 5)]
    assert asked(log, "coins_leaderboard", limit=25) == [("Anna", "kick", 1, 1, 1)]


def test_a_giftee_of_kick_has_a_name(asked: Ask) -> None:
    log = [chat(Viewer("2", "bobby"), 0), event(SubscriptionGifts(count=1, giftees=(BOB,)), ANN, at=1)]
    assert asked(log, "coins_leaderboard", limit=25) == [("Ann", "kick", 50, 51, 2), ("Bob", "kick", 1, 51, 2)]


def test_another_broadcasters_viewers_are_not_counted(asked: Ask) -> None:
    assert asked([event(KicksGifted(amount=7), ANN, user_id=8)], "coins_summary") == [(0, 0)]
