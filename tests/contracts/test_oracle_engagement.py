"""Examples worked out by hand that pin the oracle's songs, giveaways, wheel and gambles."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from schemas.event import first_word
from schemas.first_party_kinds import (
    CoinsAdjusted,
    FirstParty,
    GamblePlayed,
    GiveawayClosed,
    GiveawayDrawn,
    GiveawayEntered,
    GiveawayOpened,
    LoyaltyRulesSet,
    SongPlayed,
    SongQueueCleared,
    SongRemoved,
    SongRequested,
    SongSkipped,
    WheelConfigured,
    WheelSpun,
    Winner,
)
from schemas.kinds import (
    Followed,
    Viewer,
)
from tests.given import ANN, BEA, CAT, DAY, SECOND, US, Log, T, chat


def asked(request_id: str, url: str | None = None, **fields: Any) -> SongRequested:
    """A request; its address is its id unless told otherwise."""
    return SongRequested(request_id=request_id, song_url=url or request_id, provider="youtube", **fields)


def opened(
    giveaway_id: str = "g", *, keyword: str | None = "!join", title: str = "G", **settings: Any
) -> GiveawayOpened:
    """An opening as the codec makes it."""
    word = None if keyword is None else keyword.casefold()
    return GiveawayOpened(giveaway_id=giveaway_id, title=title, keyword=keyword, keyword_word=word, settings=settings)


def drawn(giveaway_id: str = "g", *, platform: Any = "twitch", winner: Viewer = ANN) -> GiveawayDrawn:
    return GiveawayDrawn(giveaway_id=giveaway_id, winner=Winner(platform, winner.id, winner.name))


ENTERS = GiveawayEntered(giveaway_id="g")
CLOSES = GiveawayClosed(giveaway_id="g")


# ---------------------------------------------------------------------- songs


def test_songs_wait_in_the_order_in_which_they_were_asked_for() -> None:
    log = Log().sent(asked("c"), at=T + DAY, id="0").sent(asked("b"), id="10").sent(asked("a"), id="9")
    assert log.queue() == ["b", "a", "c"]  # "10" is less than "9": ids are texts
    assert [row["song_url"] for row in log.oracle.song_request(1, limit=2)] == ["b", "a"]
    assert log.sent(asked("d"), user_id=2).queue() == ["b", "a", "c"]


def test_a_song_shows_its_request() -> None:
    log = Log().sent(asked("r", "https://youtu.be/x", title="T", duration_s=61), by=BEA, platform="kick")
    assert log.kick(chat("hi"), actor=Viewer("2", "Bea2"), at=T + DAY).oracle.song_request(1) == [
        {
            "requester_username": "Bea",
            "provider": "youtube",
            "song_url": "https://youtu.be/x",
            "platform": "kick",
            "title": "T",
            "duration_s": 61,
            "request_id": "r",
            "requested_at": "2024-01-31T12:00:00+00:00",
        }
    ]


def test_the_first_request_of_an_id_stands_whenever_it_arrives() -> None:
    log = Log().sent(asked("r", "second"), at=T + US).sent(asked("r", "first")).sent(asked("r", "third"), at=T + DAY)
    assert log.queue() == ["first"]


@pytest.mark.parametrize("ending", [SongPlayed, SongSkipped, SongRemoved])
@pytest.mark.parametrize("when", [T - DAY, T, T + DAY])
@pytest.mark.parametrize("ending_first", [True, False])
def test_an_ending_is_final_whatever_its_time_and_arrival(ending: Any, when: datetime, ending_first: bool) -> None:
    log = Log()
    if ending_first:
        log.sent(ending(request_id="r"), at=when, by=None)
    log.sent(asked("r")).sent(asked("other")).sent(asked("r", "again"), at=T + 2 * DAY)
    if not ending_first:
        log.sent(ending(request_id="r"), at=when, by=None)
    assert log.queue() == ["other"]


def test_clearing_removes_what_was_asked_up_to_its_time() -> None:
    log = Log().sent(SongQueueCleared(), by=None).sent(asked("before"), at=T - US).sent(asked("at"))
    log.sent(asked("after"), at=T + US).sent(asked("before", "again"), at=T + DAY).sent(asked("x"), user_id=2)
    assert log.queue() == ["after"]
    assert log.oracle.song_request(2)[0]["song_url"] == "x"
    assert log.sent(SongQueueCleared(), at=T - DAY).queue() == ["after"]


def test_the_song_history_is_what_was_played_and_skipped_newest_first() -> None:
    log = Log().sent(asked("a", title="A"), at=T - DAY).sent(asked("b"), by=BEA).sent(asked("c"))
    log.sent(SongSkipped(request_id="b"), at=T + DAY, by=None).sent(SongPlayed(request_id="a"), at=T + DAY + SECOND)
    log.sent(SongPlayed(request_id="nobody's"), at=T).sent(SongRemoved(request_id="c"), at=T + DAY)
    assert log.queue() == []
    a, b, nobodys = log.oracle.song_request_history(1)
    assert a == {
        "requester_username": "Ann",
        "provider": "youtube",
        "song_url": "a",
        "title": "A",
        "outcome": "played",
        "request_id": "a",
        "ended_at": "2024-02-01T12:00:01+00:00",
    }
    assert (b["requester_username"], b["outcome"]) == ("Bea", "skipped")
    assert (nobodys["requester_username"], nobodys["song_url"], nobodys["outcome"]) == (None, None, "played")
    assert log.oracle.song_request_history(1, limit=1) == [a]


def test_of_several_endings_the_first_decides_and_clearing_is_none() -> None:
    log = Log().sent(asked("a")).sent(asked("b")).sent(SongQueueCleared(), at=T + US)
    log.sent(SongPlayed(request_id="a"), at=T + 2 * DAY).sent(SongSkipped(request_id="a"), at=T + DAY)
    log.sent(SongPlayed(request_id="b"), at=T + DAY).sent(SongRemoved(request_id="b"), at=T + DAY - US)
    assert [(row["song_url"], row["outcome"]) for row in log.oracle.song_request_history(1)] == [("a", "skipped")]


# ---------------------------------------------------------------------- giveaways


def test_settings_are_shown_as_they_were_sent() -> None:
    log = Log().sent(opened(title="Keys", keyword="!Join", max=3, Max=None), by=None)
    assert log.oracle.giveaway(1) == {
        "settings": {"title": "Keys", "keyword": "!Join", "max": 3, "Max": None},
        "entries": [],
        "winner": None,
        "is_open": True,
    }
    assert Log().sent(opened(keyword=None)).oracle.giveaway(1)["settings"] == {"title": "G", "keyword": None}


@pytest.mark.parametrize("ending", [CLOSES, drawn(), opened("next")])
def test_open_from_the_opening_to_the_earliest_end(ending: FirstParty) -> None:
    log = Log().sent(opened(), at=T).sent(ending, at=T + DAY, by=None).sent(CLOSES, at=T + 2 * DAY)
    for number, at in enumerate((T - US, T, T + DAY - US, T + DAY, T + DAY + US)):
        log.sent(ENTERS, at=at, by=Viewer(f"e{number}", f"e{number}"))
        log.kick(chat("!join"), at=at, actor=Viewer(f"k{number}", f"k{number}"))
    (first,) = [row for row in log.oracle.giveaway_history(1) if row["giveaway_id"] == "g"]
    assert first["entries"] == 4  # at T and just before the end, each by word and by event
    assert (first["opened_at"], first["ended_at"]) == ("2024-01-31T12:00:00+00:00", "2024-02-01T12:00:00+00:00")


def test_when_a_message_happened_counts_and_not_when_it_arrives() -> None:
    log = Log().twitch(chat("!join")).sent(opened(), at=T - SECOND).sent(CLOSES, at=T + SECOND)
    log.twitch(chat("!join"), at=T + SECOND, actor=BEA).kick(chat("!join"), at=T - US, actor=CAT)
    assert log.entries() == [("Cat", "kick"), ("Ann", "twitch")]


@pytest.mark.parametrize(
    ("keyword", "text", "enters"),
    [
        ("!join", "!JOIN", True),
        ("!join", "!join me, please", True),
        ("!join", "\u2003\n!join\u001cplease", True),  # str.split() knows these spaces
        ("!join", "!joinme", False),
        ("!join", "let me !join", False),
        ("!join", "", False),
        ("STRASSE", "straße", True),
        ("straße", "STRASSE 9", True),
        ("İ", "i\u0307", True),
        ("İ", "i", False),
        ("ﬁ", "FI", True),
        (None, "!join", False),
    ],
)
def test_the_keyword_is_the_first_word_casefolded(keyword: str | None, text: str, enters: bool) -> None:
    log = Log().sent(opened(keyword=keyword)).twitch(chat(text), actor=BEA)
    assert log.entries() == ([("Bea", "twitch")] if enters else [])
    assert keyword is None or (first_word(text) == keyword.casefold()) is enters  # what the codecs store agrees


def test_the_broadcaster_is_excepted_from_keyword_entries_only() -> None:
    log = Log().sent(opened()).twitch(chat("!join", by_broadcaster=True)).kick(chat("!join"), actor=None)
    assert log.entries() == []
    assert log.sent(ENTERS).entries() == [("Ann", "twitch")]


def test_one_entry_per_viewer_in_entry_order_by_the_name_of_the_entering_event() -> None:
    log = Log().sent(opened()).sent(ENTERS, at=T + DAY, by=Viewer("1", "Late")).twitch(chat("!join"), at=T + SECOND)
    log.kick(chat("!join"), at=T + SECOND).sent(ENTERS, at=T + SECOND, by=BEA).sent(ENTERS, at=T + 2 * DAY)
    assert log.entries() == [("Ann", "kick"), ("Bea", "twitch"), ("Ann", "twitch")]  # kick:…, streamkit:…, twitch:…
    assert log.sent(GiveawayEntered(giveaway_id="other"), by=CAT).entries() == log.entries()


def test_a_repeated_opening_changes_settings_and_never_reopens() -> None:
    log = Log().sent(opened(keyword="!old", prize=1)).sent(opened(keyword="!new", title="New"), at=T + 2 * DAY)
    log.sent(CLOSES, at=T + DAY).twitch(chat("!old"), actor=BEA).twitch(chat("!new"), actor=CAT)
    log.twitch(chat("!new"), at=T + 2 * DAY + US)
    answer = log.oracle.giveaway(1)
    assert answer["settings"] == {"title": "New", "keyword": "!new"}
    assert (answer["is_open"], log.entries()) == (False, [("Cat", "twitch")])
    earlier = opened(keyword="!oldest", title="Oldest")  # arrives last, so the giveaway was open from then on
    log.sent(earlier, at=T - DAY).twitch(chat("!new"), at=T - US)
    assert log.oracle.giveaway(1)["settings"]["title"] == "New"
    assert log.entries() == [("Ann", "twitch"), ("Cat", "twitch")]


def test_the_giveaway_is_the_one_first_opened_last() -> None:
    log = Log().sent(opened("b"), at=T + SECOND).sent(opened("a"), by=None).sent(opened("a", title="A2"), at=T + DAY)
    log.sent(GiveawayEntered(giveaway_id="b"), at=T + 2 * DAY)  # a repeated opening of `a` does not end `b`
    assert log.oracle.giveaway(1)["settings"]["title"] == "G"
    assert log.entries() == [("Ann", "twitch")]
    assert [(row["giveaway_id"], row["title"], row["ended_at"]) for row in log.oracle.giveaway_history(1)] == [
        ("b", "G", None),
        ("a", "A2", "2024-01-31T12:00:01+00:00"),
    ]
    assert len(log.oracle.giveaway_history(1, limit=1)) == 1


@pytest.mark.parametrize("ending", [CLOSES, drawn(winner=BEA)])
@pytest.mark.parametrize("at", [T - DAY, T])
def test_drawn_or_closed_before_the_opening_leaves_no_open_time(ending: FirstParty, at: datetime) -> None:
    log = Log().sent(ending, at=at, by=None).sent(opened()).sent(ENTERS).twitch(chat("!join"), at=T + US)
    assert (log.entries(), log.oracle.giveaway(1)["is_open"]) == ([], False)


def test_two_opened_at_one_time_the_greater_id_is_the_later_and_the_other_was_never_open() -> None:
    log = Log().sent(opened("x"), id="2").sent(opened("y"), id="1").sent(GiveawayEntered(giveaway_id="y"))
    log.sent(GiveawayEntered(giveaway_id="x"), by=BEA)
    assert log.entries() == [("Bea", "twitch")]
    assert [(row["giveaway_id"], row["entries"]) for row in log.oracle.giveaway_history(1)] == [("x", 1), ("y", 0)]


def test_the_winner_is_the_one_drawn_last_and_need_not_have_entered() -> None:
    log = Log().sent(opened()).sent(ENTERS, at=T + US).sent(drawn(winner=BEA), at=T + 2 * DAY)
    log.sent(drawn(winner=Viewer("1", "Ann won")), at=T + DAY, by=None)
    assert log.oracle.giveaway(1)["winner"] == {"username": "Bea", "platform": "twitch", "entered": False}
    log.sent(drawn(winner=Viewer("1", "Ann again")), at=T + 3 * DAY, by=None)
    assert log.oracle.giveaway(1)["winner"] == {"username": "Ann again", "platform": "twitch", "entered": True}
    assert log.oracle.giveaway_history(1)[0]["winner"] == {"username": "Ann again", "platform": "twitch"}
    log.sent(drawn(platform="kick"), at=T + 4 * DAY, by=None)  # the same id elsewhere is another viewer
    assert log.oracle.giveaway(1)["winner"] == {"username": "Ann", "platform": "kick", "entered": False}
    assert log.board() == []
    assert log.sent(drawn("never opened")).oracle.giveaway_history(1, limit=9)[1:] == []


# ---------------------------------------------------------------------- wheel and gambles


def test_the_wheel_as_configured_last_and_its_latest_spin() -> None:
    log = Log().sent(WheelSpun(result="old"), by=None)
    assert log.oracle.wheel(1) == {"title": None, "segments": [], "last_result": "old"}
    log.sent(WheelConfigured(title="W2", segments=("x",)), at=T + DAY)
    log.sent(WheelConfigured(title="W1", segments=("old", "b")), at=T - DAY)
    assert log.oracle.wheel(1) == {"title": "W2", "segments": ["x"], "last_result": "old"}
    log.sent(WheelSpun(result="no segment"), at=T + SECOND)
    assert log.oracle.wheel(1)["last_result"] == "no segment"
    assert log.oracle.wheel_history(1) == [
        {"result": "no segment", "actor": "Ann", "spun_at": "2024-01-31T12:00:01+00:00"},
        {"result": "old", "actor": None, "spun_at": "2024-01-31T12:00:00+00:00"},
    ]
    assert log.oracle.wheel(2) == {"title": None, "segments": [], "last_result": None}


def test_gambles_move_the_balance_by_payout_less_bet() -> None:
    log = Log().sent(CoinsAdjusted(amount=100)).sent(GamblePlayed(game_type="slots", outcome="lose", bet=30, payout=0))
    log.sent(GamblePlayed(game_type="coinflip", outcome="win", bet=20, payout=45), at=T + DAY, platform="kick")
    assert log.board() == [("Ann", 70), ("Ann", 25)]
    assert log.oracle.gamble(1, limit=1) == [
        {
            "username": "Ann",
            "game_type": "coinflip",
            "outcome": "win",
            "bet": 20,
            "payout": 45,
            "platform": "kick",
            "played_at": "2024-02-01T12:00:00+00:00",
        }
    ]
    assert [row["outcome"] for row in log.oracle.gamble(1)] == ["win", "lose"]


# ---------------------------------------------------------------------- events


def test_first_party_events_are_events_without_message() -> None:
    log = Log().sent(LoyaltyRulesSet(bit=2), by=None).sent(WheelSpun(result="x"), platform="kick", at=T + SECOND)
    assert [(row["type"], row["platform"], row["actor"], row["message"]) for row in log.oracle.events_history(1)] == [
        ("wheel.spun", "kick", "Ann", None),
        ("loyalty.rules_set", "streamkit", None, None),
    ]
    assert log.oracle.overview(1, ("kick",), T)["events"] == {"total": 2}


def test_filters_of_the_events_history() -> None:
    log = Log()
    for second, (platform, name) in enumerate((("kick", "Ann"), ("twitch", "ann"), ("twitch", "Ann"), ("kick", "Bea"))):
        at = T + second * SECOND
        (log.kick if platform == "kick" else log.twitch)(Followed(), actor=Viewer("1", name), at=T, received_at=at)
    log.twitch(Followed(), actor=None, at=T, received_at=T + 4 * SECOND)
    numbers = log.oracle.numbers(1)

    def positions(**filters: Any) -> list[int]:
        return [row.position for row in numbers.event_rows(**filters)]

    assert positions() == [4, 3, 2, 1, 0]
    assert positions(platform="twitch") == [4, 2, 1]
    assert positions(actor="Ann") == [2, 0]
    assert positions(actor="Ann", platform="kick", type="channel.followed") == [0]
    assert positions(since=T + SECOND, until=T + 3 * SECOND) == [2, 1]  # the one inclusive, the other not
    assert positions(since=T + SECOND + US, until=T + 3 * SECOND + US) == [3, 2]
    assert positions(type="channel.cheered") == []
