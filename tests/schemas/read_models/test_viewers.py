"""What a viewer is called, as seen by looking for a name: who is called so now."""

from __future__ import annotations

import pytest

from schemas.event import Event
from schemas.first_party_kinds import (
    CoinsAdjusted,
    FirstParty,
    GamblePlayed,
    GiveawayDrawn,
    SongRequested,
    WheelSpun,
    Winner,
)
from schemas.kinds import (
    Banned,
    Followed,
    Raided,
    SubscriptionGiftReceived,
    SubscriptionGifts,
    SubscriptionSnapshot,
    Viewer,
)
from tests.projector.events import ANN, CY, chat, event, pushed
from tests.schemas.read_models.conftest import Ask


def named(asked: Ask, log: list[Event], name: str, platform: str = "kick") -> str | None:
    """The id of whoever is called so now."""
    rows = asked(log, "coins_viewer", platform=platform, username=name)
    return rows[0][2] if rows else None


def one(name: str) -> Viewer:
    """Viewer 1 under a name."""
    return Viewer("1", name)


def listing(name: str, at: float) -> Event:
    return event(SubscriptionSnapshot(total=1, complete=True, subscribers=(one(name),)), None, platform="twitch", at=at)


def test_nobody_is_called_so(asked: Ask) -> None:
    assert named(asked, [], "Ann") is None
    assert named(asked, [chat("hi", ANN, user_id=8)], "Ann") is None, "another broadcaster's viewer"


def test_the_newest_name_by_time_counts_then_by_event_id(asked: Ask) -> None:
    log = [chat("hi", one("new"), at=5), chat("hi", one("old"), at=1), chat("hi", one("between"), at=3)]
    assert [named(asked, log, name) for name in ("new", "old", "between")] == ["1", None, None]
    log.append(chat("hi", one("greater id"), at=5))
    assert [named(asked, log, name) for name in ("greater id", "new")] == ["1", None]


def test_one_id_on_two_platforms_is_two_viewers_with_names_of_their_own(asked: Ask) -> None:
    log = [chat("hi", one("of kick"), at=5), chat("hi", one("of twitch"), at=1, platform="twitch")]
    assert named(asked, log, "of kick") == named(asked, log, "of twitch", "twitch") == "1"
    assert named(asked, log, "of kick", "twitch") is named(asked, log, "of twitch") is None


@pytest.mark.parametrize(
    "data",
    [
        CoinsAdjusted(amount=5),
        GamblePlayed(game_type="g", outcome="win", bet=1, payout=2),
        SongRequested(request_id="r", song_url="u"),
        WheelSpun(result="x"),
    ],
)
def test_a_first_party_event_names_only_whom_no_platform_has_named(asked: Ask, data: FirstParty) -> None:
    first, latest = pushed(data, one("bot's first"), at=8), pushed(data, one("bot's latest"), at=9)
    assert named(asked, [latest, first], "bot's latest") == "1"
    log = [latest, first, chat("hi", one("platform's"), at=1)]
    assert (named(asked, log, "platform's"), named(asked, log, "bot's latest")) == ("1", None)


def test_a_first_party_name_of_kick_is_nothing_to_twitch(asked: Ask) -> None:
    log = [pushed(CoinsAdjusted(amount=5), one("bot's"), at=9), chat("hi", one("platform's"), platform="twitch")]
    assert named(asked, log, "bot's") == named(asked, log, "platform's", "twitch") == "1"


def test_a_list_of_subscribers_names_only_whom_no_event_has_named(asked: Ask) -> None:
    assert named(asked, [listing("older", 1), listing("newer", 2)], "newer", "twitch") == "1"
    by_bot = pushed(CoinsAdjusted(amount=5), one("bot's"), platform="twitch")
    assert named(asked, [listing("newer", 2), by_bot], "bot's", "twitch") == "1"


def test_giftees_of_kick_those_who_received_a_gift_and_raiders_are_named(asked: Ask) -> None:
    gifted = event(SubscriptionGifts(count=2, giftees=(ANN, CY)), None)
    received = event(SubscriptionGiftReceived(), Viewer("4", "Receiver"), platform="twitch")
    raider = event(Raided(viewers=5), Viewer("5", "Raider"), platform="twitch")
    log = [gifted, received, raider]
    assert [named(asked, log, name) for name in ("Ann", "Cy")] == ["1", "3"]
    assert [named(asked, log, name, "twitch") for name in ("Receiver", "Raider")] == ["4", "5"]
    assert named(asked, [gifted, chat("hi", one("earlier"), at=-1)], "Ann") == "1", (
        "a giftee is renamed by a later gift"
    )


def test_who_is_banned_or_won_is_not_named_by_it(asked: Ask) -> None:
    log = [
        event(Banned(target=CY), ANN),
        pushed(GiveawayDrawn(giveaway_id="g", winner=Winner("kick", "4", "Winner")), ANN),
    ]
    assert [named(asked, log, name) for name in ("Ann", "Cy", "Winner")] == ["1", None, None]


@pytest.mark.parametrize(
    ("name", "asked_for"),
    [
        ("Ann_B", "aNN_b"),
        ("STRASSE", "stra\u00dfe"),
        ("stra\u00dfe", "STRASSE"),
        ("\u0130x", "i\u0307X"),
        ("\u212a", "k"),
    ],
)
def test_a_name_is_found_in_any_case(asked: Ask, name: str, asked_for: str) -> None:
    assert named(asked, [event(Followed(), one(name))], asked_for) == "1"


@pytest.mark.parametrize(
    ("name", "asked_for"), [("Ann", "An"), ("Ann", "Ann "), ("Ann", "A%"), ("Ann", ""), ("AnnB", "Ann_")]
)
def test_another_name_is_not_found(asked: Ask, name: str, asked_for: str) -> None:
    assert named(asked, [event(Followed(), one(name))], asked_for) is None


def test_of_namesakes_the_one_who_was_seen_last_is_found(asked: Ask) -> None:
    log = [chat("hi", ANN, at=1), chat("hi", Viewer("2", "ANN"), at=5), chat("hi", Viewer("3", "ann"), at=3)]
    assert named(asked, log, "Ann") == "2"
    assert named(asked, [*log, chat("hi", ANN, at=9)], "Ann") == "1"
    assert named(asked, [*log, chat("hi", Viewer("2", "renamed"), at=9)], "Ann") == "3"


def test_of_namesakes_whom_one_event_named_the_lesser_id_is_found(asked: Ask) -> None:
    giftees = (Viewer("7", "Twin"), Viewer("10", "twin"))
    assert named(asked, [event(SubscriptionGifts(count=2, giftees=giftees), None)], "twin") == "10"
