from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from schemas.event import Event
from schemas.first_party_kinds import (
    FirstParty,
    GiveawayClosed,
    GiveawayDrawn,
    GiveawayEntered,
    GiveawayOpened,
    ViewerPlatform,
    Winner,
)
from schemas.kinds import Followed, Viewer
from tests.projector.events import ANN, BOB, CY, US, chat, event, pushed, us
from tests.schemas.read_models.conftest import Ask

HOUR_S = 3600


def giveaway(
    id: str = "g", keyword: str | None = "!join", title: str = "Keys", settings: dict[str, Any] | None = None
) -> GiveawayOpened:
    """As the codec makes it of what the bot sends."""
    word = None if keyword is None else keyword.casefold()
    return GiveawayOpened(giveaway_id=id, title=title, keyword=keyword, keyword_word=word, settings=settings or {})


def opened(id: str = "g", keyword: str | None = "!join", *, at: float = 0.0, **more: Any) -> Event:
    return pushed(giveaway(id, keyword, **more), at=at)


def enters(actor: Viewer = ANN, *, at: float = 1.0, id: str = "g", platform: ViewerPlatform = "kick") -> Event:
    return pushed(GiveawayEntered(giveaway_id=id), actor, at=at, platform=platform)


def drawn(winner: Viewer = ANN, *, at: float = 9.0, id: str = "g", platform: ViewerPlatform = "kick") -> Event:
    return pushed(GiveawayDrawn(giveaway_id=id, winner=Winner(platform, winner.id, winner.name)), at=at)


def closed(*, at: float = 9.0, id: str = "g") -> Event:
    return pushed(GiveawayClosed(giveaway_id=id), at=at)


def entries(asked: Ask, *log: Event) -> list[tuple[str, str]]:
    """Name and platform of those who entered the open or latest giveaway, in entry order."""
    return [(name, platform) for name, platform in asked(log, "giveaway_entries")]


def names(asked: Ask, *log: Event) -> list[str]:
    return [name for name, _ in entries(asked, *log)]


def now(asked: Ask, *log: Event) -> dict[str, Any]:
    """The open or latest giveaway, with its settings read."""
    (row,) = asked(log, "giveaway_now")
    fields = ("id", "title", "keyword", "settings", "opened_us", "is_open", "winner", "winner_platform", "entered")
    told = dict(zip(fields, row, strict=True))
    return told | {"settings": json.loads(told["settings"])}


def past(asked: Ask, *log: Event) -> list[tuple[Any, ...]]:
    """Id, when it ended, how many entered and who won, newest first."""
    return [(row[0], row[4], row[5], row[6]) for row in asked(log, "giveaway_history", limit=100)]


# ---------------------------------------------------------------------- settings


def test_there_was_no_giveaway(asked: Ask) -> None:
    never_opened, theirs = [chat("!join"), enters(), drawn(), closed()], [pushed(giveaway(), user_id=8)]
    for log in ([], never_opened, theirs):
        assert asked(log, "giveaway_now") == asked(log, "giveaway_entries") == []
        assert asked(log, "giveaway_history", limit=10) == []


def test_settings_are_told_as_they_were_sent(asked: Ask) -> None:
    settings = {"prize": {"keys": [1, 2.5, None]}, "Prize": "\u96ea", "": False, "n": (1 << 64) - 1}
    told = now(asked, opened(keyword="!Join", title="Keys \U0001f511", settings=settings))
    assert (told["title"], told["keyword"], told["settings"]) == ("Keys \U0001f511", "!Join", settings)
    assert (told["opened_us"], told["is_open"], told["winner"], told["entered"]) == (us(0), True, None, None)


def test_without_keyword_nobody_enters_by_chat(asked: Ask) -> None:
    log = (opened(keyword=None), chat("None", at=1), chat("", BOB, at=1), enters(CY))
    assert now(asked, *log)["keyword"] is None
    assert names(asked, *log) == ["Cy"]


def test_the_latest_opening_of_an_id_gives_its_settings_as_a_whole(asked: Ask) -> None:
    first = opened(settings={"prize": 1, "max": 5})
    latest = opened(keyword=None, title="More keys", settings={"prize": 2}, at=5)
    told = now(asked, latest, first)
    assert (told["title"], told["keyword"], told["settings"]) == ("More keys", None, {"prize": 2})
    assert told["opened_us"] == us(0)
    same_time = opened(title="Greater id", at=5)
    assert now(asked, first, latest, same_time)["title"] == "Greater id"


def test_the_latest_keyword_holds_for_the_whole_open_time(asked: Ask) -> None:
    log = (opened(keyword="!old"), chat("!old", ANN, at=1), chat("!new", BOB, at=1), opened(keyword="!new", at=5))
    assert names(asked, *log, chat("!old", CY, at=6)) == ["Bob"]


def test_a_repeated_opening_never_reopens(asked: Ask) -> None:
    log = (opened(), closed(at=5), opened(title="Again", at=7), enters(at=8))
    told = now(asked, *log)
    assert (told["title"], told["is_open"]) == ("Again", False)
    assert names(asked, *log) == []
    assert past(asked, *log) == [("g", us(5), 0, None)]


def test_a_repeated_opening_ends_no_other_giveaway_and_moves_nothing(asked: Ask) -> None:
    log = (opened("a"), opened("b", at=5), opened("a", at=7), enters(at=8, id="b"))
    assert (now(asked, *log)["id"], names(asked, *log)) == ("b", ["Ann"])
    assert past(asked, *log) == [("b", None, 1, None), ("a", us(5), 0, None)]


# ---------------------------------------------------------------------- when it is open


@pytest.mark.parametrize("end", [GiveawayClosed("g"), drawn().data, giveaway("next")])
def test_open_from_the_opening_inclusive_to_its_end_exclusive(asked: Ask, end: FirstParty) -> None:
    moments = (-US, 0.0, HOUR_S - US, HOUR_S, HOUR_S + US)
    viewers = [Viewer(f"{number}", f"v{number}") for number in range(len(moments))]
    log = [opened(), pushed(end, at=HOUR_S)]
    log += [enters(viewer, at=at) for viewer, at in zip(viewers, moments, strict=True)]
    log += [chat("!join", viewer, at=at, platform="twitch") for viewer, at in zip(viewers, moments, strict=True)]
    assert past(asked, *log)[-1][:3] == ("g", us(HOUR_S), 4), "two at the opening, two just before the end"


def test_the_earliest_of_drawn_closed_and_the_next_opening_ends_it(asked: Ask) -> None:
    ends = {5: closed(at=5), 6: drawn(at=6), 7: opened("next", at=7)}
    log = [opened(), enters(at=5.5)]
    for earliest, entered in ((5, 0), (6, 1), (7, 1)):
        of_g = past(asked, *log, *(end for at, end in ends.items() if at >= earliest))[-1]
        assert of_g[:3] == ("g", us(earliest), entered)


@pytest.mark.parametrize("end", [closed(at=-1), drawn(at=-1), closed(at=0), drawn(at=0)])
def test_drawn_or_closed_before_the_opening_leaves_no_open_time(asked: Ask, end: Event) -> None:
    log = (end, opened(), enters(at=0), chat("!join", BOB, at=1))
    assert (now(asked, *log)["is_open"], names(asked, *log)) == (False, [])


def test_what_ends_another_giveaway_does_not_end_this_one(asked: Ask) -> None:
    assert now(asked, opened(), closed(id="G"), drawn(id="other"))["is_open"]


def test_the_one_first_opened_last_is_shown_whatever_the_arrival(asked: Ask) -> None:
    assert now(asked, opened("late", at=5), opened("early"), closed(id="late", at=6))["id"] == "late"
    same_time = (opened("x"), opened("y"))  # the greater event id is the later opening
    assert (now(asked, *same_time)["id"], past(asked, *same_time)[1]) == ("y", ("x", us(0), 0, None))
    earlier = opened("late", at=-5, title="Old")
    told = now(asked, opened("late", at=5), opened("early"), earlier)
    assert told["id"] == "early", "an earlier opening that arrives late moves its giveaway"


# ---------------------------------------------------------------------- entries


def test_entries_are_in_the_order_of_entering_then_of_event_id(asked: Ask) -> None:
    log = (opened(), enters(CY, at=3), chat("!join", BOB, at=2), enters(ANN, at=2))
    assert names(asked, *log) == ["Bob", "Ann", "Cy"], "kick:… is before streamkit:…"


def test_a_viewer_enters_once_under_the_name_in_the_earliest_entry(asked: Ask) -> None:
    log = (
        opened(),
        enters(Viewer("1", "third"), at=3),
        chat("!join", Viewer("1", "first"), at=1),
        chat("!join again", Viewer("1", "second"), at=2),
        chat("hi", Viewer("1", "newest"), at=9),
    )
    assert names(asked, *log) == ["first"]
    assert past(asked, *log) == [("g", None, 1, None)]


def test_an_entry_before_the_opening_does_not_stand_in_for_a_later_one(asked: Ask) -> None:
    assert names(asked, opened(), enters(Viewer("1", "early"), at=-1), enters(Viewer("1", "in time"))) == ["in time"]


def test_viewers_of_kick_and_twitch_enter_side_by_side(asked: Ask) -> None:
    log = (
        opened(),
        chat("!join", ANN, at=1, platform="twitch"),
        chat("!join", ANN, at=2),
        enters(ANN, at=3, platform="twitch"),
        enters(BOB, at=4, platform="twitch"),
    )
    assert entries(asked, *log) == [("Ann", "twitch"), ("Ann", "kick"), ("Bob", "twitch")]


def test_entries_of_another_giveaway_or_broadcaster_do_not_count(asked: Ask) -> None:
    other = pushed(GiveawayEntered(giveaway_id="g"), BOB, at=1, user_id=8)
    assert names(asked, opened(), enters(id="G"), other, chat("!join", CY, at=1, user_id=8)) == []


# ---------------------------------------------------------------------- keywords


@pytest.mark.parametrize(
    ("keyword", "text", "does"),
    [
        ("!join", "!join", True),
        ("!join", "!JOIN please", True),
        ("!Join", "\u2003\t !join\u001cnow", True),  # white space as str.split() knows it
        ("stra\u00dfe", "STRASSE", True),
        ("\u0130", "i\u0307 and more", True),
        ("\u0390" * 50, "\u0390" * 50, True),  # casefolding makes three of each
        ("!join", "!join\u200b", False),
        ("!join", "!joinnow", False),
        ("!join", "please !join", False),
        ("!join", "join", False),
        ("!join", "", False),
        ("%", "!join", False),
        ("_join", "!join", False),
    ],
)
def test_a_keyword_is_compared_casefolded_with_the_first_word(asked: Ask, keyword: str, text: str, does: bool) -> None:
    assert names(asked, opened(keyword=keyword), chat(text, at=1)) == ["Ann"] * does


def test_a_message_that_arrives_before_the_opening_but_happened_after_it_enters(asked: Ask) -> None:
    log = [chat("!join", ANN, at=1), chat("!join", BOB, at=-1), opened(), closed(at=5), chat("!join", CY, at=5)]
    assert [row[0] for row in asked(log, "giveaway_entries", in_order=True)] == ["Ann"]


def test_the_broadcaster_is_excepted_from_keywords_only(asked: Ask) -> None:
    by_word = chat("!join", ANN, by_broadcaster=True, at=1)
    assert names(asked, opened(), by_word, chat("!join", BOB, at=2)) == ["Bob"]
    assert names(asked, opened(), by_word, enters(ANN, at=3)) == ["Ann"]


def test_only_chat_enters_by_keyword(asked: Ask) -> None:
    assert names(asked, opened(), event(Followed(), Viewer("1", "!join"), at=1)) == []


# ---------------------------------------------------------------------- winner


def test_the_winner_is_the_latest_drawn_with_the_platform(asked: Ask) -> None:
    log = (opened(), enters(ANN), enters(BOB, platform="twitch"), drawn(BOB, platform="twitch", at=9), drawn(ANN, at=8))
    told = now(asked, *log)
    assert (told["winner"], told["winner_platform"], told["entered"]) == ("Bob", "twitch", True)
    told = now(asked, *log, drawn(Viewer("1", "Ann again"), at=9))
    assert (told["winner"], told["winner_platform"], told["is_open"]) == ("Ann again", "kick", False)


@pytest.mark.parametrize("winner", [drawn(CY), drawn(ANN, platform="twitch"), drawn(BOB)])
def test_a_winner_who_did_not_enter_is_taken_and_told_so(asked: Ask, winner: Event) -> None:
    log = (opened(), enters(ANN), enters(BOB, at=9), winner)  # Bob came as the drawing closed it
    told = now(asked, *log)
    assert told["winner"] == winner.data.winner.name  # type: ignore[union-attr]
    assert (told["entered"], names(asked, *log)) == (False, ["Ann"])


def test_a_winner_drawn_after_the_end_wins_all_the_same(asked: Ask) -> None:
    log = (opened(), enters(), closed(at=5), drawn(at=9))
    assert past(asked, *log) == [("g", us(5), 1, "Ann")]


def test_a_winner_of_another_giveaway_did_not_win_this_one(asked: Ask) -> None:
    assert now(asked, opened(), drawn(id="other"))["winner"] is None


# ---------------------------------------------------------------------- history


def test_the_history_has_all_giveaways_the_last_opened_first(asked: Ask) -> None:
    log = (
        opened("a", title="A"),
        enters(id="a"),
        chat("!join", BOB, at=2),
        drawn(BOB, id="a", at=3),
        opened("c", keyword=None, at=9),
        opened("b", keyword="!b", at=5),
        chat("!b", CY, at=8),
    )
    rows = asked(log, "giveaway_history", limit=100)
    assert [row[:8] for row in rows] == [
        ("c", "Keys", None, us(9), None, 0, None, None),
        ("b", "Keys", "!b", us(5), us(9), 1, None, None),
        ("a", "A", "!join", us(0), us(3), 2, "Bob", "kick"),
    ]
    assert asked(log, "giveaway_history", limit=1) == rows[:1]


def test_pages_of_the_history_while_giveaways_are_opened(walked: Callable[..., None]) -> None:
    log = [opened(str(number), at=number // 2) for number in range(5)]
    log += [closed(id=str(number), at=3) for number in range(5)]
    walked(log, "giveaway_history", 3, 8, [opened(f"new {number}", at=9 + number) for number in range(4)])
