from __future__ import annotations

from schemas.kinds import (
    ChatMessage,
    Cheered,
    Followed,
    PlatformSubscriptionRevoked,
    RedemptionUpdated,
    SubscriptionGiftReceived,
    SubscriptionRenewal,
    SubscriptionSnapshot,
)
from tests.projector.events import ANN, BOB, T0, event
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
