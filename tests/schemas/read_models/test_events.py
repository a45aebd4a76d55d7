from __future__ import annotations

from collections.abc import Callable
from typing import Any

from schemas.event import Event
from schemas.first_party_kinds import LoyaltyRulesSet, WheelSpun
from schemas.kinds import (
    ChatMessage,
    Cheered,
    Followed,
    PlatformSubscriptionRevoked,
    RedemptionUpdated,
    SubscriptionGiftReceived,
    SubscriptionRenewal,
    SubscriptionSnapshot,
    Viewer,
)
from tests.projector.events import ANN, BOB, T0, chat, event, pushed, us
from tests.schemas.read_models.conftest import Ask

LOG = [
    event(ChatMessage(message_id="m", message="hi"), ANN, at=0),
    event(Followed(), BOB, at=1),
    event(ChatMessage(message_id="n", message=""), BOB, at=2),
    event(SubscriptionGiftReceived(), BOB, platform="twitch", at=3),
    event(SubscriptionSnapshot(total=1), None, platform="twitch", at=4),
    event(PlatformSubscriptionRevoked(status="user_removed"), None, platform="twitch", at=5),
    event(Cheered(amount=1, message="cheer1"), None, platform="twitch", at=6),
    event(SubscriptionRenewal(cumulative_months=1, message="a year!"), ANN, platform="twitch", at=7),
]


def test_internal_kinds_are_not_stored(asked: Ask) -> None:
    assert asked(LOG, "events_total") == [(5,)]
    assert asked([], "events_total") == [(0,)]


def test_newest_first_with_the_name_and_the_text_in_the_event(asked: Ask) -> None:
    rows = [row[:4] for row in asked(LOG, "events_history", in_order=True, limit=50, type=None)]
    assert rows == [
        ("channel.subscription.renewal", "twitch", "Ann", "a year!"),
        ("channel.cheered", "twitch", None, "cheer1"),
        ("chat.message.sent", "kick", "Bob", None),
        ("channel.followed", "kick", "Bob", None),
        ("chat.message.sent", "kick", "Ann", "hi"),
    ]


def test_a_type_filters_exactly(asked: Ask) -> None:
    rows = asked(LOG, "events_history", in_order=True, limit=1, type="chat.message.sent")
    assert [(row[2], row[5]) for row in rows] == [("Bob", 2)]
    assert asked(LOG, "events_history", in_order=True, limit=50, type="no.such.type") == []
    assert asked(LOG, "events_history", in_order=True, limit=50, type="channel.subscription.snapshot") == []


def test_ties_in_receipt_go_by_log_position(asked: Ask) -> None:
    log = [event(Followed(), ANN, received_at=T0), event(Followed(), BOB, received_at=T0)]
    assert [row[2] for row in asked(log, "events_history", in_order=True, limit=50, type=None)] == ["Bob", "Ann"]


def test_a_redemptions_input_is_no_message(asked: Ask) -> None:
    data = RedemptionUpdated(
        redemption_id="r", reward_id="w", reward_title="W", cost=5, status="pending", user_input="please"
    )
    assert [row[3] for row in asked([event(data)], "events_history", in_order=True, limit=1, type=None)] == [None]


def test_first_party_events_are_stored_and_have_no_message(asked: Ask) -> None:
    log = [pushed(LoyaltyRulesSet(bit=2)), pushed(WheelSpun(result="x"), ANN, at=1, platform="twitch")]
    rows = asked(log, "events_history", in_order=True, limit=50)
    assert [row[:4] for row in rows] == [
        ("wheel.spun", "twitch", "Ann", None),
        ("loyalty.rules_set", "streamkit", None, None),
    ]
    assert asked(log, "events_total") == [(2,)]


# ---------------------------------------------------------------------- filters


FILTERED = [
    event(Followed(), Viewer("0", "Ann"), at=0),
    event(Followed(), Viewer("1", "ann"), platform="twitch", at=1),
    event(Followed(), Viewer("2", "Ann"), platform="twitch", at=2),
    event(Followed(), Viewer("3", "Bob"), at=3),
    event(Followed(), None, platform="twitch", at=4),
    chat("hi", ANN, at=5),
    pushed(WheelSpun(result="x"), at=6),
]


def found(asked: Ask, log: list[Event] = FILTERED, **filters: Any) -> list[int]:
    """The positions in the log of what the filters let through, newest first."""
    return [row[5] for row in asked(log, "events_history", in_order=True, limit=50, **filters)]


def test_without_filters_all_is_there(asked: Ask) -> None:
    assert found(asked) == [6, 5, 4, 3, 2, 1, 0]


def test_a_platform_filters_streamkit_too(asked: Ask) -> None:
    assert found(asked, platform="kick") == [5, 3, 0]
    assert found(asked, platform="twitch") == [4, 2, 1]
    assert found(asked, platform="streamkit") == [6]


def test_an_actor_filters_by_the_name_as_shown_exactly(asked: Ask) -> None:
    assert found(asked, actor="Ann") == [5, 2, 0]
    assert found(asked, actor="ann") == [1]
    assert found(asked, actor="") == found(asked, actor="A%") == found(asked, actor="nobody") == []


def test_a_renamed_actor_is_found_by_the_name_in_the_event(asked: Ask) -> None:
    log = [event(Followed(), ANN), chat("hi", Viewer("1", "Anna"), at=9)]
    assert (found(asked, log, actor="Ann"), found(asked, log, actor="Anna")) == ([0], [1])


def test_since_is_inclusive_and_until_exclusive_on_the_receipt(asked: Ask) -> None:
    received = us(2 + 1)  # of position 2: a second after it happened
    assert found(asked, since_us=received) == [6, 5, 4, 3, 2]
    assert found(asked, since_us=received + 1) == [6, 5, 4, 3]
    assert found(asked, until_us=received) == [1, 0]
    assert found(asked, until_us=received + 1) == [2, 1, 0]
    assert found(asked, since_us=received, until_us=received + 1) == [2]
    assert found(asked, since_us=received, until_us=received) == []
    late = event(Followed(), ANN, at=-999, received_at=T0)
    assert found(asked, [late], since_us=us(0)) == [0], "whenever it happened"


def test_filters_hold_together(asked: Ask) -> None:
    assert found(asked, actor="Ann", platform="kick", type="channel.followed") == [0]
    assert found(asked, actor="Ann", type="chat.message.sent", since_us=us(6), until_us=us(7)) == [5]
    assert found(asked, actor="Ann", platform="streamkit") == []


def test_a_filter_reaches_far_behind_the_newest(asked: Ask) -> None:
    log = [event(Followed(), BOB), *(chat("hi", ANN, at=number) for number in range(1, 9))]
    assert [row[5] for row in asked(log, "events_history", in_order=True, limit=1, actor="Bob")] == [0]
    assert [row[5] for row in asked(log, "events_history", in_order=True, limit=1)] == [8]


# ---------------------------------------------------------------------- pages


def test_a_page_begins_after_its_place_and_keeps_to_the_filters(asked: Ask) -> None:
    place = (us(3 + 1), 3)
    assert found(asked, before=place) == [2, 1, 0]
    assert found(asked, before=place, platform="twitch") == [2, 1]
    assert found(asked, before=place, since_us=us(2)) == [2, 1]
    assert found(asked, before=(us(0), 0)) == []


def test_pages_go_by_log_position_where_many_were_received_at_once(asked: Ask) -> None:
    log = [event(Followed(), received_at=T0) if number % 2 else chat("hi", received_at=T0) for number in range(5)]
    assert found(asked, log) == [4, 3, 2, 1, 0]
    assert found(asked, log, before=(us(0), 2)) == [1, 0]


def test_pages_while_events_arrive(walked: Callable[..., None]) -> None:
    log = [chat("hi", at=number // 3) if number % 2 else event(Followed(), at=number // 3) for number in range(9)]
    walked(log, "events_history", 4, 5, [chat("hi", at=9), event(Followed(), at=9), *(chat("hi", at=3) for _ in "abc")])
