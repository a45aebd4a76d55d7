from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from unittest import mock

from schemas.event import Event
from schemas.kinds import LivestreamMetadata, LivestreamSnapshot, LivestreamStatus
from tests.harness import fold
from tests.projector.events import T0, USER, event
from tests.schemas.read_models.conftest import Ask


def kick(is_live: bool, started: float, at: float, title: str | None = None) -> Event:
    started_at = T0 + timedelta(seconds=started)
    return event(LivestreamStatus(is_live=is_live, started_at=started_at, title=title), None, at=at)


def twitch(is_live: bool, stream_id: str | None, at: float) -> Event:
    started_at = T0 + timedelta(seconds=at) if is_live else None
    data = LivestreamStatus(is_live=is_live, stream_id=stream_id, started_at=started_at)
    return event(data, None, platform="twitch", at=at)


def metadata(title: str | None, category: str | None, at: float) -> Event:
    return event(LivestreamMetadata(title=title, category_name=category), None, at=at)


def live(asked: Ask, *log: Event) -> dict[str, bool]:
    return {row[0]: row[1] for row in asked(log, "stream_status")}


def test_nothing_known_is_no_row(asked: Ask) -> None:
    assert asked([], "stream_status") == []


def test_a_start_makes_live_and_its_end_ends_it_whichever_came_first(asked: Ask) -> None:
    assert live(asked, kick(True, 0, 0)) == {"kick": True}
    assert live(asked, kick(True, 0, 0), kick(False, 0, 60)) == {"kick": False}


def test_a_start_told_again_after_the_end_does_not_reopen(asked: Ask) -> None:
    assert live(asked, kick(True, 0, 0), kick(False, 0, 60), kick(True, 0, 90)) == {"kick": False}


def test_the_newest_stream_decides(asked: Ask) -> None:
    assert live(asked, kick(True, 0, 0), kick(True, 100, 100), kick(False, 0, 90)) == {"kick": True}
    assert live(asked, kick(True, 0, 0), kick(True, 100, 100), kick(False, 100, 200)) == {"kick": False}


def test_an_end_whose_start_was_never_told_ends_nothing_else(asked: Ask) -> None:
    assert live(asked, kick(True, 0, 0), kick(False, 100, 200)) == {"kick": True}
    assert live(asked, kick(False, 100, 200)) == {"kick": False}


def test_a_twitch_end_without_id_ends_the_newest_that_started_before_it(asked: Ask) -> None:
    assert live(asked, twitch(True, "41", 0), twitch(False, None, 60)) == {"twitch": False}
    assert live(asked, twitch(True, "41", 0), twitch(False, None, 60), twitch(True, "42", 60)) == {"twitch": True}
    assert live(asked, twitch(True, "41", 0), twitch(False, "41", 60)) == {"twitch": False}


def test_the_newest_title_and_category_survive_the_end(asked: Ask) -> None:
    log = [
        metadata("second", "Chess", 20),
        kick(True, 0, 0, title="first"),
        metadata("earlier", "Go", 10),
        kick(False, 0, 60),
    ]
    assert asked(log, "stream_status") == [("kick", False, None, "second", "Chess")]
    assert asked([*log, kick(True, 70, 70, title="third")], "stream_status") == [("kick", True, None, "third", "Chess")]


def test_metadata_without_a_category_takes_it_away(asked: Ask) -> None:
    log = [metadata("a", "Chess", 0), metadata("b", None, 1)]
    assert asked(log, "stream_status") == [("kick", False, None, "b", None)]


def poll(started: float | None, at: float, viewers: int | None = None, title: str | None = None) -> Event:
    if started is None:
        return event(LivestreamSnapshot(is_live=False), None, at=at)
    started_at = T0 + timedelta(seconds=started)
    data = LivestreamSnapshot(is_live=True, started_at=started_at, viewer_count=viewers, title=title)
    return event(data, None, at=at)


def test_viewers_are_those_that_the_newest_poll_of_this_stream_saw(asked: Ask) -> None:
    log = [kick(True, 0, 0), poll(0, 120, 20), poll(0, 60, 10)]
    assert asked(log, "stream_status") == [("kick", True, 20, None, None)]
    assert asked([*log, kick(False, 0, 200)], "stream_status") == [("kick", False, None, None, None)]
    assert asked([*log, kick(False, 0, 200), kick(True, 300, 300)], "stream_status") == [
        ("kick", True, None, None, None)
    ]


def test_a_poll_tells_of_a_stream_whose_start_was_lost(asked: Ask) -> None:
    assert asked([poll(0, 60, 5, "a")], "stream_status") == [("kick", True, 5, "a", None)]


def test_a_poll_soon_after_an_end_is_behind_and_a_later_one_reopens(asked: Ask) -> None:
    log = [kick(True, 0, 0), kick(False, 0, 100)]
    assert live(asked, *log, poll(0, 190)) == {"kick": False}
    assert live(asked, *log, poll(0, 190.001)) == {"kick": True}
    assert live(asked, *log, poll(0, 200), kick(False, 0, 150)) == {"kick": False}


def test_a_poll_that_finds_nothing_ends_what_nobody_says_is_live_any_more(asked: Ask) -> None:
    log = [kick(True, 0, 0), poll(0, 60), poll(None, 120)]
    assert live(asked, *log) == {"kick": True}, "one poll that finds nothing may be wrong"
    assert live(asked, *log, poll(None, 180)) == {"kick": False}
    assert live(asked, *log, poll(None, 180), poll(0, 240)) == {"kick": True}
    assert live(asked, *log, poll(None, 180), kick(True, 170, 170)) == {"kick": True}


def test_a_title_of_a_poll_gives_way_to_one_told_shortly_before(asked: Ask) -> None:
    log = [metadata("told", "Chess", 100), poll(0, 150, title="old")]
    assert asked(log, "stream_status") == [("kick", True, None, "told", "Chess")]
    assert asked([*log, poll(0, 210, title="newer")], "stream_status") == [("kick", True, None, "newer", "Chess")]


def test_polls_do_not_pile_up(tmp_path: Path) -> None:
    """A row a stream, whatever the batches were, and one for what is told of none: by ten positions, later by forty."""
    log = [poll(0, 60 * at, at, "a") if at % 80 < 60 else poll(None, 60 * at) for at in range(400)]
    with (
        mock.patch("projector.fold.SETTLED_EVERY", 10),
        mock.patch("projector.fold.SORTED_EVERY", 4),
        fold(log, path=tmp_path / "a.duckdb", batches=[7] * 57) as folded,
        fold(log, path=tmp_path / "b.duckdb") as whole,
    ):
        assert folded.digest() == whole.digest()
        ((rows,),) = folded.session.execute("SELECT count(*) FROM stream_status").fetchall()
        assert rows == 400 / 40 + 5, (
            "of the forties, every second one has polls that found it live and such that did not"
        )
        (status,) = folded.ask(USER, "stream_status")
    assert (status.is_live, status.title) == (False, "a")
