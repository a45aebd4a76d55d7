from __future__ import annotations

from collections.abc import Callable

import pytest

from schemas.event import Event
from schemas.first_party_kinds import (
    SongPlayed,
    SongQueueCleared,
    SongRemoved,
    SongRequested,
    SongSkipped,
)
from schemas.kinds import Viewer
from tests.projector.events import ANN, BOB, CY, US, chat, pushed, us
from tests.schemas.read_models.conftest import Ask

DAY_S = 86_400
ENDINGS = (SongPlayed, SongSkipped, SongRemoved)


def wanted(request_id: str, actor: Viewer = ANN, *, at: float = 0.0, url: str = "u", user_id: int = 7) -> Event:
    data = SongRequested(request_id=request_id, song_url=url, provider="youtube")
    return pushed(data, actor, at=at, user_id=user_id)


def waiting(asked: Ask, log: list[Event], limit: int = 100) -> list[str]:
    """The ids of the requests that wait, in play order."""
    return [row[5] for row in asked(log, "song_queue", limit=limit)]


def ended(asked: Ask, log: list[Event]) -> list[tuple[str, str]]:
    """What became of which request, newest first."""
    return [(row[7], row[4]) for row in asked(log, "song_history", limit=100)]


def test_nothing_was_asked_for(asked: Ask) -> None:
    assert asked([], "song_queue", limit=10) == []
    assert asked([], "song_history", limit=10) == []
    assert waiting(asked, [wanted("r", user_id=8)]) == [], "of another broadcaster"


def test_a_song_that_waits_is_told_as_it_was_asked_for(asked: Ask) -> None:
    full = SongRequested(
        request_id="r", song_url="https://youtu.be/x", provider="youtube", title="Song \U0001f3b5", duration_s=215.5
    )
    bare = SongRequested(request_id="s", song_url="https://bandcamp.example/y", provider="bandcamp.example")
    log = [pushed(full, ANN, platform="twitch"), pushed(bare, BOB, at=1)]
    log.append(chat("hi", Viewer("1", "Anna"), at=2, platform="twitch"))  # renamed since
    assert asked(log, "song_queue", limit=10) == [
        ("Ann", "youtube", "https://youtu.be/x", "Song \U0001f3b5", 215.5, "r", us(0), "twitch"),
        ("Bob", "bandcamp.example", "https://bandcamp.example/y", None, None, "s", us(1), "kick"),
    ]


def test_the_queue_is_in_the_order_of_asking_then_of_event_id(asked: Ask) -> None:
    same, later = wanted("same-1", at=1), wanted("later", at=2)
    assert waiting(asked, [later, same, wanted("same-2", at=1), wanted("first")]) == [
        "first",
        "same-1",
        "same-2",
        "later",
    ]
    assert waiting(asked, [later, same], limit=1) == ["same-1"]


def test_of_the_requests_of_one_id_the_first_by_time_stands_then_by_event_id(asked: Ask) -> None:
    log = [
        wanted("r", BOB, at=5, url="late"),
        wanted("other", at=2),
        wanted("r", CY, at=1, url="first"),
        wanted("r", ANN, at=1, url="second"),
    ]
    rows = asked(log, "song_queue", limit=10)
    assert [(row[5], row[0], row[2]) for row in rows] == [("r", "Cy", "first"), ("other", "Ann", "u")]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("at", [-DAY_S, 0, DAY_S])
def test_what_was_played_skipped_or_removed_never_waits_whatever_its_time(
    asked: Ask, ending: type[SongPlayed | SongSkipped | SongRemoved], at: float
) -> None:
    log = [pushed(ending(request_id="r"), at=at), wanted("r"), wanted("other", at=1), wanted("r", at=2 * DAY_S)]
    assert waiting(asked, log) == ["other"]


def test_clearing_removes_what_was_asked_for_up_to_its_own_time(asked: Ask) -> None:
    log = [wanted("before", at=-1), wanted("at"), wanted("after", at=US), pushed(SongQueueCleared())]
    assert waiting(asked, log) == ["after"]
    assert waiting(asked, [*log, pushed(SongQueueCleared(), BOB, at=-9)]) == ["after"], "an earlier one, in addition"
    assert waiting(asked, [*log, pushed(SongQueueCleared(), user_id=8, at=9)]) == ["after"], "of another broadcaster"
    assert ended(asked, log) == []


def test_a_repeat_of_what_was_cleared_does_not_return(asked: Ask) -> None:
    log = [wanted("r"), pushed(SongQueueCleared(), at=1), wanted("r", at=2), wanted("new", at=3)]
    assert waiting(asked, log) == ["new"]


def test_an_ending_of_nobodys_request_or_of_another_broadcasters_takes_nothing_away(asked: Ask) -> None:
    log = [wanted("r"), pushed(SongPlayed(request_id="R")), pushed(SongPlayed(request_id="r"), user_id=8)]
    assert waiting(asked, log) == ["r"]


def test_the_history_is_what_was_played_or_skipped_newest_first_then_by_event_id(asked: Ask) -> None:
    log = [
        *(wanted(request_id) for request_id in "abcd"),
        pushed(SongPlayed(request_id="a"), at=10),
        pushed(SongSkipped(request_id="b"), BOB, at=12),
        pushed(SongRemoved(request_id="c"), at=13),
        pushed(SongPlayed(request_id="d"), at=10),
    ]
    assert ended(asked, log) == [("b", "skipped"), ("d", "played"), ("a", "played")]
    assert [row[7] for row in asked(log, "song_history", limit=2)] == ["b", "d"]
    assert asked(log, "song_history", limit=1)[0][:6] == ("Ann", "youtube", "u", None, "skipped", us(12))


def test_a_song_that_was_played_without_a_request_is_told_by_its_id_alone(asked: Ask) -> None:
    played = pushed(SongPlayed(request_id="r"), at=1)
    assert asked([played], "song_history", limit=1) == [
        (None, None, None, None, "played", us(1), played.event_id, "r"),
    ]
    assert asked([played, wanted("r", at=9)], "song_history", limit=1)[0][:3] == ("Ann", "youtube", "u")


def test_of_several_endings_of_one_request_the_first_by_time_is_told(asked: Ask) -> None:
    log = [
        wanted("a"),
        pushed(SongPlayed(request_id="a"), at=9),
        pushed(SongSkipped(request_id="a"), at=5),
        wanted("b"),
        pushed(SongPlayed(request_id="b"), at=9),
        pushed(SongRemoved(request_id="b"), at=5),
    ]
    assert ended(asked, log) == [("a", "skipped")]


def test_a_song_that_was_played_after_the_clearing_was_played(asked: Ask) -> None:
    log = [wanted("r"), pushed(SongQueueCleared(), at=1), pushed(SongPlayed(request_id="r"), at=2)]
    assert (waiting(asked, log), ended(asked, log)) == ([], [("r", "played")])


def test_pages_of_the_history_while_songs_are_played(walked: Callable[..., None]) -> None:
    log = [wanted("0"), *(pushed(SongPlayed(request_id=str(number)), at=number // 2) for number in range(6))]
    arriving = [pushed(SongSkipped(request_id=f"new {number}"), at=9 + number) for number in range(4)]
    walked(log, "song_history", 5, 6, arriving)
