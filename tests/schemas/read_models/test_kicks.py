from __future__ import annotations

from collections.abc import Callable

from schemas.event import Event
from schemas.kinds import ChatMessage, KicksGifted, Viewer
from tests.projector.events import ANN, BOB, CY, T0, event
from tests.schemas.read_models.conftest import Ask

T0_US = int(T0.timestamp()) * 1_000_000


def gift(amount: int, actor: Viewer | None, at: float) -> Event:
    return event(KicksGifted(amount=amount), actor, at=at)


def test_no_gifts_are_zeros(asked: Ask) -> None:
    assert asked([], "kicks_summary") == [(0, 0)]
    assert asked([], "kicks_top", limit=25) == []
    assert asked([], "kicks_history", limit=25) == []


def test_anonymous_gifts_count_and_do_not_rank(asked: Ask) -> None:
    log = [gift(5, ANN, 0), gift(100, None, 1), gift(7, BOB, 2), gift(3, ANN, 3)]
    assert asked(log, "kicks_summary") == [(115, 4)]
    assert asked(log, "kicks_top", limit=25) == [("Ann", 8), ("Bob", 7)]
    assert asked(log, "kicks_top", limit=1) == [("Ann", 8)]


def test_the_ranks_show_the_newest_name_and_the_history_the_one_in_the_event(asked: Ask) -> None:
    renamed = event(ChatMessage(message_id="m", message="hi"), Viewer("1", "Anna"), at=5)
    earlier = event(ChatMessage(message_id="n", message="hi"), Viewer("1", "Annie"), at=-5)
    log = [renamed, gift(5, ANN, 0), earlier]
    assert asked(log, "kicks_top", limit=25) == [("Anna", 5)]
    assert [row[:3] for row in asked(log, "kicks_history", limit=25)] == [("Ann", 5, T0_US)]


def test_ties_go_by_casefolded_name_then_platform_then_id(asked: Ask) -> None:
    log = [gift(5, CY, 0), gift(5, BOB, 1), gift(5, Viewer("10", "bob"), 2), gift(5, Viewer("9", "STRASSE"), 3)]
    log.append(gift(5, Viewer("11", "straße"), 4))
    names = [("bob", 5), ("Bob", 5), ("Cy", 5), ("straße", 5), ("STRASSE", 5)]
    assert asked(log, "kicks_top", limit=25) == names
    assert asked(log, "kicks_top", limit=2) == names[:2]


def test_the_history_is_newest_first_and_ties_by_event_id(asked: Ask) -> None:
    first, second = gift(1, ANN, 0), gift(2, None, 0)
    log = [first, gift(3, BOB, -1), second]
    newest = [(None, 2, T0_US), ("Ann", 1, T0_US)] if second.event_id > first.event_id else []
    assert [row[:3] for row in asked(log, "kicks_history", limit=2)] == newest


def test_a_page_of_the_history_begins_after_its_place(asked: Ask) -> None:
    log = [gift(1, ANN, 0), gift(2, None, 0), gift(3, BOB, 5)]
    newest = asked(log, "kicks_history", limit=25)
    assert [row[1] for row in newest] == [3, 2, 1]
    for number, (_, _, occurred_us, event_id) in enumerate(newest, 1):
        assert asked(log, "kicks_history", limit=25, before=(occurred_us, event_id)) == newest[number:]


def test_pages_of_the_history_while_kicks_are_given(walked: Callable[..., None]) -> None:
    log = [gift(number, ANN if number % 2 else None, number // 3) for number in range(7)]
    walked(log, "kicks_history", 2, 3, [gift(1, BOB, 9 + number) for number in range(5)])
