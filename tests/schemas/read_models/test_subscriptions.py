"""The history, its totals, and who is active: three read models, told by the same events."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from schemas.event import Event
from schemas.kinds import (
    SubscriptionEnded,
    SubscriptionGiftReceived,
    SubscriptionGifts,
    SubscriptionNew,
    SubscriptionRenewal,
    SubscriptionSnapshot,
    Viewer,
)
from tests.projector.events import ANN, BOB, CY, T0, event
from tests.schemas.read_models.conftest import Ask

DAY_S = 86_400
NOW = T0 + timedelta(days=1)


def us(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def twitch(data: Any, actor: Viewer | None = ANN, at: float = 0) -> Event:
    return event(data, actor, platform="twitch", at=at)


def shared(at: float, months: int = 5, actor: Viewer | None = ANN) -> Event:
    return twitch(SubscriptionRenewal(months=1, cumulative_months=months), actor, at)


def totals(asked: Ask, log: list[Event]) -> tuple[Any, ...]:
    (row,) = asked(log, "subscription_totals")
    return row


def active(asked: Ask, log: list[Event], now: datetime = NOW) -> list[tuple[Any, ...]]:
    """The preview's rows, which the totals must agree with."""
    ask: dict[str, Any] = {"now_us": us(now), "platforms": ["kick", "twitch"]}
    preview = asked(log, "active_preview", limit=25, **ask)
    counts: dict[str, int] = dict(asked(log, "active_totals", **ask))
    assert counts == {p: n for p in ("kick", "twitch") if (n := [row[1] for row in preview].count(p))}
    return preview


# ---------------------------------------------------------------------- totals and history


def test_gifts_count_one_per_giftee_and_received_ones_not_again(asked: Ask) -> None:
    log = [
        twitch(SubscriptionGifts(count=3)),
        twitch(SubscriptionGiftReceived(), BOB),
        twitch(SubscriptionGiftReceived(), CY),
        twitch(SubscriptionGifts(count=2), None),
    ]
    assert totals(asked, log) == (0, 0, 5, 2)


@pytest.mark.parametrize(
    ("after_s", "counts"),
    [
        (0, False),
        (-600, False),
        (-600.000001, True),
        (30 * DAY_S, False),
        (30 * DAY_S + 0.000001, True),
    ],
)
def test_a_shared_message_near_a_purchase_does_not_count(asked: Ask, after_s: float, counts: bool) -> None:
    log = [twitch(SubscriptionNew()), shared(after_s)]
    assert totals(asked, log) == (1, int(counts), 0, 1 + counts)


def test_a_first_month_message_never_counts(asked: Ask) -> None:
    assert totals(asked, [shared(0, months=1)]) == (0, 0, 0, 0)


def test_only_a_purchase_of_that_twitch_viewer_suppresses(asked: Ask) -> None:
    log = [
        twitch(SubscriptionNew(), BOB),
        event(SubscriptionNew(), ANN, platform="kick"),
        event(SubscriptionNew(), ANN, platform="twitch", user_id=8),
        shared(0),
        event(SubscriptionRenewal(months=3), BOB, platform="kick"),
    ]
    assert totals(asked, log) == (2, 2, 0, 4)


def test_the_history_is_newest_received_first_without_what_does_not_count(asked: Ask) -> None:
    log = [
        twitch(SubscriptionGifts(count=5), None, at=0),
        twitch(SubscriptionNew(), BOB, at=5),
        shared(6, actor=BOB),
        shared(3),
    ]
    rows = [row[:4] for row in asked(log, "subscription_history", in_order=True, limit=50)]
    assert rows == [
        ("channel.subscription.new", "twitch", "Bob", 1),
        ("channel.subscription.renewal", "twitch", "Ann", 1),
        ("channel.subscription.gifts", "twitch", None, 5),
    ]
    assert [row[5] for row in asked(log, "subscription_history", in_order=True, limit=2)] == [1, 3]


def test_a_page_of_the_history_begins_after_its_place_without_what_does_not_count(asked: Ask) -> None:
    log = [twitch(SubscriptionGifts(count=2)), shared(3), twitch(SubscriptionNew(), at=5), shared(6, actor=BOB)]
    log.append(twitch(SubscriptionNew(), CY, at=6))  # received with the one before: the log decides
    newest = asked(log, "subscription_history", in_order=True, limit=50)
    assert [row[5] for row in newest] == [4, 3, 2, 0]
    for number, row in enumerate(newest, 1):
        page = asked(log, "subscription_history", in_order=True, limit=2, before=row[4:])
        assert page == newest[number : number + 2]


def test_pages_of_the_history_while_viewers_subscribe(walked: Callable[..., None]) -> None:
    log = [twitch(SubscriptionNew(), Viewer(str(number), "x"), at=number // 3) for number in range(7)]
    log.append(shared(1, months=1))
    arriving = [twitch(SubscriptionGifts(count=1), at=9 + number) for number in range(5)]
    walked(log, "subscription_history", 4, 5, arriving)


# ---------------------------------------------------------------------- active


def test_a_twitch_subscription_lasts_one_calendar_month_clamped(asked: Ask) -> None:
    end = datetime(2026, 2, 28, 12, tzinfo=UTC)  # T0 is a 31 January
    log = [twitch(SubscriptionNew())]
    assert active(asked, log, end - timedelta(microseconds=1)) == [("Ann", "twitch", us(end))]
    assert active(asked, log, end) == []


def test_a_message_lasts_its_months_and_a_suppressed_one_extends_too(asked: Ask) -> None:
    log = [twitch(SubscriptionNew()), twitch(SubscriptionRenewal(months=3, cumulative_months=4), at=60)]
    assert active(asked, log) == [("Ann", "twitch", us(datetime(2026, 4, 30, 12, 1, tzinfo=UTC)))]


def test_kick_says_when_it_ends_for_each_giftee_too(asked: Ask) -> None:
    soon, late = T0 + timedelta(days=20), T0 + timedelta(days=30)
    log = [
        event(SubscriptionNew(months=1, expires_at=late), ANN),
        event(SubscriptionGifts(count=2, giftees=(BOB, CY), expires_at=soon), ANN),
        event(SubscriptionGifts(count=1, giftees=(BOB,)), ANN),
    ]
    assert active(asked, log) == [("Bob", "kick", us(soon)), ("Cy", "kick", us(soon)), ("Ann", "kick", us(late))]


def test_an_end_ends_what_lies_before_it_and_not_what_comes_after(asked: Ask) -> None:
    new, ended = twitch(SubscriptionNew()), twitch(SubscriptionEnded(), at=60)
    assert active(asked, [new, ended]) == []
    again = twitch(SubscriptionGiftReceived(), at=60.000001)
    assert [row[0] for row in active(asked, [new, ended, again])] == ["Ann"]
    same_instant = twitch(SubscriptionNew(), at=60)
    assert active(asked, [new, ended, same_instant]) == []


def test_a_complete_list_starts_a_month_for_those_on_it_and_ends_the_others(asked: Ask) -> None:
    poll = twitch(SubscriptionSnapshot(total=1, complete=True, subscribers=(BOB,)), None, at=60)
    log = [twitch(SubscriptionNew()), poll, twitch(SubscriptionNew(), CY, at=61)]
    assert [row[0] for row in active(asked, log)] == ["Bob", "Cy"]
    partial = twitch(SubscriptionSnapshot(total=9, complete=False, subscribers=(BOB,)), None, at=60)
    assert [row[0] for row in active(asked, [twitch(SubscriptionNew()), partial])] == ["Ann"]


def test_only_the_platforms_asked_for(asked: Ask) -> None:
    log = [twitch(SubscriptionNew()), event(SubscriptionNew(expires_at=T0 + timedelta(days=9)), BOB)]
    rows = asked(log, "active_totals", now_us=us(NOW), platforms=["kick"])
    assert rows == [("kick", 1)]
    assert asked(log, "active_totals", now_us=us(NOW), platforms=[]) == []


def test_the_preview_breaks_ties_by_casefolded_name(asked: Ask) -> None:
    until = T0 + timedelta(days=9)
    log = [event(SubscriptionNew(expires_at=until), Viewer(id, name)) for id, name in (("1", "b"), ("2", "A"))]
    ask: dict[str, Any] = {"now_us": us(NOW), "platforms": ["kick"]}
    assert asked(log, "active_preview", limit=1, **ask) == [("A", "kick", us(until))]
