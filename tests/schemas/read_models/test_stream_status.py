from __future__ import annotations

from datetime import timedelta

from schemas.event import Event
from schemas.kinds import LivestreamMetadata, LivestreamStatus
from tests.projector.events import T0, event
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
