from __future__ import annotations

from collections.abc import Callable

from schemas.event import Event
from schemas.first_party_kinds import WheelConfigured, WheelSpun
from schemas.kinds import Viewer
from tests.projector.events import ANN, BOB, chat, pushed, us
from tests.schemas.read_models.conftest import Ask


def configured(title: str, *segments: str, at: float = 0.0, user_id: int = 7) -> Event:
    return pushed(WheelConfigured(title=title, segments=segments), at=at, user_id=user_id)


def spun(result: str, actor: Viewer | None = None, *, at: float = 0.0, user_id: int = 7) -> Event:
    return pushed(WheelSpun(result=result), actor, at=at, user_id=user_id)


def test_a_wheel_that_was_never_configured_nor_spun(asked: Ask) -> None:
    assert asked([], "wheel_now") == [(None, [], None)]
    assert asked([], "wheel_history", limit=10) == []
    others = [configured("Theirs", "a", user_id=8), spun("a", user_id=8)]
    assert asked(others, "wheel_now") == [(None, [], None)]


def test_the_latest_configuration_by_time_stands_as_a_whole_then_by_event_id(asked: Ask) -> None:
    old, new = configured("Old", "a", "b", at=1), configured("New", "c", at=2)
    assert asked([new, old], "wheel_now") == [("New", ["c"], None)]
    assert asked([new, configured("Newer", at=2), old], "wheel_now") == [("Newer", [], None)]


def test_segments_are_kept_in_their_order_with_their_repeats(asked: Ask) -> None:
    segments = ["Hydrate", "", 'q"\\', "Hydrate", "\u96ea \U0001f3a1"]
    assert asked([configured("", *segments)], "wheel_now") == [("", segments, None)]


def test_the_last_result_is_the_latest_spin_whatever_the_configuration(asked: Ask) -> None:
    before = [spun("old", at=-1), configured("Wheel", "a", "b")]
    assert asked(before, "wheel_now") == [("Wheel", ["a", "b"], "old")]
    assert asked([spun("a", at=2), *before, spun("b", at=1)], "wheel_now") == [("Wheel", ["a", "b"], "a")]
    again = [*before, spun("a", at=1), configured("Other", "x", at=2)]
    assert asked(again, "wheel_now") == [("Other", ["x"], "a")]


def test_a_spin_without_any_configuration_is_shown(asked: Ask) -> None:
    assert asked([spun("Hydrate")], "wheel_now") == [(None, [], "Hydrate")]


def test_a_spin_of_a_segment_that_is_not_there_is_shown(asked: Ask) -> None:
    log = [configured("Wheel", "a"), spun("no segment", at=1)]
    assert asked(log, "wheel_now") == [("Wheel", ["a"], "no segment")]
    assert [row[0] for row in asked(log, "wheel_history", limit=10)] == ["no segment"]


def test_of_two_spins_at_one_time_the_greater_event_id_is_the_last(asked: Ask) -> None:
    log = [spun("first"), spun("second")]
    assert asked(log, "wheel_now") == [(None, [], "second")]
    assert [row[0] for row in asked(log, "wheel_history", limit=10)] == ["second", "first"]


def test_the_history_is_newest_first_with_the_name_in_the_event(asked: Ask) -> None:
    by_ann, by_nobody = spun("a", ANN, at=2), spun("b", at=3)
    log = [by_ann, by_nobody, spun("c", BOB, at=1), configured("Wheel", at=9), chat("hi", Viewer("1", "Anna"), at=9)]
    rows = asked(log, "wheel_history", limit=2)
    assert rows == [("b", None, us(3), by_nobody.event_id), ("a", "Ann", us(2), by_ann.event_id)]


def test_pages_of_the_history_while_it_spins(walked: Callable[..., None]) -> None:
    log = [configured("Wheel"), *(spun(str(number), at=number // 2) for number in range(7))]
    walked(log, "wheel_history", 2, 3, [spun(f"new {number}", at=9 + number) for number in range(5)])
