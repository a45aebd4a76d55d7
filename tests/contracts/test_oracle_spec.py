"""Examples worked out by hand that pin the oracle: given these events, then exactly these numbers."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings

from schemas.event import Event, encode_event
from schemas.kinds import (
    Banned,
    ChatMessage,
    Cheered,
    Followed,
    KicksGifted,
    LivestreamMetadata,
    LivestreamStatus,
    RedemptionUpdated,
    SubscriptionEnded,
    SubscriptionGiftReceived,
    SubscriptionGifts,
    SubscriptionNew,
    SubscriptionRenewal,
    SubscriptionSnapshot,
    Viewer,
)
from tests.given import ANN, BEA, BOTH, DAY, US, Log, T
from tests.oracle import Oracle, answers, differences
from tests.oracle_rows import add_months
from tests.strategies import logs

# ---------------------------------------------------------------------- duplicates


def test_of_two_deliveries_with_one_key_the_first_in_the_log_stands_whole() -> None:
    log = Log().twitch(Cheered(amount=1), event_id="twitch:a").twitch(Cheered(amount=5), event_id="twitch:a", actor=BEA)
    log.kick(KicksGifted(amount=2), natural_key="kick:k").kick(KicksGifted(amount=9), natural_key="kick:k", actor=BEA)
    assert log.board() == [("Ann", 2), ("Ann", 1)]
    assert log.oracle.events_history(1)[0]["actor"] == "Ann"
    assert log.oracle.numbers(1).events_total() == 2


def test_a_dropped_duplicate_leaves_no_key_behind() -> None:
    log = Log().twitch(Cheered(amount=1), event_id="twitch:a", natural_key="n1")
    log.twitch(Cheered(amount=10), event_id="twitch:a", natural_key="n2")  # dropped by id, so n2 was never seen
    log.twitch(Cheered(amount=100), event_id="twitch:b", natural_key="n2")
    log.twitch(Cheered(amount=1000), event_id="twitch:c", natural_key="n1")  # dropped by natural key
    log.twitch(Cheered(amount=10000), event_id="twitch:c", natural_key=None)
    assert log.board() == [("Ann", 10101)]


# ---------------------------------------------------------------------- streams


def test_a_stream_lives_from_its_start_to_its_end_and_a_late_start_does_not_reopen_it() -> None:
    live, over = LivestreamStatus(is_live=True, started_at=T), LivestreamStatus(is_live=False, started_at=T)
    assert not Log().live("kick")
    assert Log().kick(live).live("kick")
    assert not Log().kick(live).kick(over, at=T + DAY).live("kick")
    assert not Log().kick(over, at=T + DAY).kick(live).live("kick")
    assert not Log().kick(live).kick(over, at=T + DAY).kick(live, at=T + 2 * DAY).live("kick")


def test_the_newest_told_start_decides() -> None:
    first = LivestreamStatus(is_live=True, started_at=T)
    second = LivestreamStatus(is_live=True, started_at=T + DAY)
    first_over = LivestreamStatus(is_live=False, started_at=T)
    second_over = LivestreamStatus(is_live=False, started_at=T + DAY)
    later_over = LivestreamStatus(is_live=False, started_at=T + 5 * DAY)
    assert not Log().kick(first).kick(second).kick(second_over).live("kick")  # a lost end keeps nothing live
    assert Log().kick(first).kick(second).kick(first_over).live("kick")
    assert Log().kick(first).kick(later_over).live("kick")  # its start was never told


def test_a_start_at_the_same_instant_in_another_zone_is_the_same_kick_stream() -> None:
    other = datetime.fromisoformat("2024-01-31T23:00:00+11:00")
    log = (
        Log().kick(LivestreamStatus(is_live=True, started_at=T)).kick(LivestreamStatus(is_live=False, started_at=other))
    )
    assert not log.live("kick")


def test_a_twitch_end_without_id_ends_the_newest_stream_strictly_before_it() -> None:
    a = LivestreamStatus(is_live=True, stream_id="1", started_at=T)
    b = LivestreamStatus(is_live=True, stream_id="2", started_at=T + DAY)
    end = LivestreamStatus(is_live=False)
    assert not Log().twitch(a).twitch(end, at=T + US).live()
    assert Log().twitch(a).twitch(end, at=T).live()
    assert Log().twitch(a).twitch(b, at=T + DAY).twitch(end, at=T + DAY).live()  # ends the older one
    assert not Log().twitch(end, at=T + 2 * DAY).twitch(a).twitch(b, at=T + DAY).live()
    assert Log().kick(LivestreamStatus(is_live=True, started_at=T)).twitch(end, at=T + DAY).live("kick")


def test_a_live_platform_shows_the_newest_title_and_category_and_an_offline_one_nothing() -> None:
    log = Log().kick(LivestreamStatus(is_live=True, started_at=T, title="S"), at=T)
    live = {"is_live": True, "viewer_count": None, "stream_title": "S", "category_name": None}
    assert log.oracle.stream_status(1, BOTH) == {
        "is_live": True,
        "platforms": {"kick": live, "twitch": {"is_live": False}},
    }
    log.kick(LivestreamMetadata(title="M", category_name="C"), at=T + DAY)
    log.kick(LivestreamMetadata(title="old", category_name="old"), at=T - DAY)
    assert log.oracle.stream_status(1, ["kick"])["platforms"]["kick"] == live | {
        "stream_title": "M",
        "category_name": "C",
    }
    log.kick(LivestreamMetadata(title="M2"), at=T + 2 * DAY)
    assert log.oracle.stream_status(1, ["kick"])["platforms"]["kick"] == live | {"stream_title": "M2"}
    assert log.oracle.stream_status(1, ["twitch"]) == {"is_live": False, "platforms": {"twitch": {"is_live": False}}}


def test_titles_survive_the_end_and_tie_by_event_id() -> None:
    log = (
        Log()
        .twitch(LivestreamMetadata(title="b"), event_id="twitch:2")
        .twitch(LivestreamMetadata(title="a"), event_id="twitch:1")
    )
    log.twitch(LivestreamStatus(is_live=True, stream_id="1", started_at=T)).twitch(
        LivestreamStatus(is_live=False), at=T + DAY
    )
    log.twitch(LivestreamStatus(is_live=True, stream_id="2", started_at=T + 2 * DAY), at=T + 2 * DAY)
    assert log.oracle.stream_status(1, ["twitch"])["platforms"]["twitch"]["stream_title"] == "b"


# ---------------------------------------------------------------------- which renewals count


@pytest.mark.parametrize(
    ("distance", "counts"),
    [
        (-30 * DAY - US, 1),
        (-30 * DAY, 0),
        (timedelta(0), 0),
        (timedelta(minutes=10), 0),
        (timedelta(minutes=10) + US, 1),
    ],
)
@pytest.mark.parametrize("new_first", [True, False])
def test_a_twitch_renewal_near_a_new_is_suppressed(distance: timedelta, counts: int, new_first: bool) -> None:
    log = Log()
    if new_first:
        log.twitch(SubscriptionNew(), at=T + distance)
    log.twitch(SubscriptionRenewal(cumulative_months=4, message="hi"))
    if not new_first:
        log.twitch(SubscriptionNew(), at=T + distance)
    summary = log.summary()
    assert (summary["new"], summary["resubs"], summary["all"]) == (1, counts, 1 + counts)
    assert summary["history_count"] == len(log.oracle.subscriptions_history(1)) == 1 + counts
    assert log.board() == [("Ann", 100 + 100 * counts)]
    assert log.oracle.numbers(1).events_total() == 2  # suppressed, and stored all the same
    assert "hi" in [row["message"] for row in log.oracle.events_history(1)]


def test_only_a_twitch_new_of_the_same_viewer_suppresses() -> None:
    renewal = SubscriptionRenewal(cumulative_months=2)
    assert Log().twitch(renewal).twitch(SubscriptionNew(), actor=BEA).summary()["resubs"] == 1
    assert Log().twitch(renewal).kick(SubscriptionNew()).summary()["resubs"] == 1
    assert Log().twitch(renewal).twitch(SubscriptionNew(), user_id=2).summary()["resubs"] == 1
    assert Log().twitch(renewal).twitch(SubscriptionGiftReceived()).summary()["resubs"] == 1
    assert Log().twitch(renewal, actor=None).twitch(SubscriptionNew(), actor=None).summary()["resubs"] == 1
    assert Log().kick(SubscriptionRenewal(months=1)).kick(SubscriptionNew()).summary()["resubs"] == 1
    assert Log().twitch(SubscriptionRenewal(cumulative_months=1)).summary()["resubs"] == 0


def test_gifts_count_from_the_gift_event_alone() -> None:
    log = Log().twitch(SubscriptionGifts(count=5)).twitch(SubscriptionGiftReceived(), actor=BEA)
    log.kick(SubscriptionGifts(count=2, giftees=(ANN, BEA)), actor=None)
    summary = log.summary()
    assert (summary["gifted"], summary["new"], summary["all"], summary["history_count"]) == (7, 0, 7, 2)
    assert log.board() == [("Ann", 250)]
    rows = log.oracle.subscriptions_history(1)
    assert [(row["platform"], row["actor"], row["count"]) for row in rows] == [("kick", None, 2), ("twitch", "Ann", 5)]


# ---------------------------------------------------------------------- who is active


def test_expiry_by_platform() -> None:
    until = T + 40 * DAY
    log = Log().twitch(SubscriptionNew(), actor=ANN).kick(SubscriptionNew(expires_at=until), actor=ANN)
    log.kick(SubscriptionGifts(count=1, giftees=(BEA,), expires_at=T + DAY), actor=None)
    log.kick(SubscriptionNew(), actor=Viewer("3", "never said until when"))
    assert log.preview() == [
        ("Bea", "2024-02-01T12:00:00+00:00"),
        ("Ann", "2024-02-29T12:00:00+00:00"),
        ("Ann", "2024-03-11T12:00:00+00:00"),
    ]
    summary = log.summary()
    assert summary["active"] == 3
    assert summary["by_platform"] == {"kick": {"active_total": 2}, "twitch": {"active_total": 1}}
    alone = log.oracle.subscriptions_summary(1, ["twitch"], T)
    assert (alone["active"], alone["by_platform"]) == (1, {"twitch": {"active_total": 1}})


def test_lies_ahead_is_strict_and_times_are_cut() -> None:
    log = Log().kick(SubscriptionNew(expires_at=T + timedelta(microseconds=999_999)))
    assert log.preview(T) == [("Ann", "2024-01-31T12:00:00+00:00")]
    assert log.preview(T + timedelta(microseconds=999_998)) != []
    assert log.preview(T + timedelta(microseconds=999_999)) == []


def test_the_greatest_expiry_after_the_last_end_counts_and_equal_is_not_after() -> None:
    log = Log().twitch(SubscriptionRenewal(months=12, cumulative_months=1))  # suppressed, and extends all the same
    log.twitch(SubscriptionGiftReceived(), at=T + DAY)
    assert log.preview() == [("Ann", "2025-01-31T12:00:00+00:00")]
    log.twitch(SubscriptionEnded(), at=T)
    assert log.preview() == [("Ann", "2024-03-01T12:00:00+00:00")]
    log.twitch(SubscriptionEnded(), at=T + DAY)
    assert log.preview() == []
    assert log.kick(SubscriptionEnded(), at=T + 9 * DAY).twitch(SubscriptionNew(), at=T + 2 * DAY).preview() == [
        ("Ann", "2024-03-02T12:00:00+00:00")
    ]


def test_a_complete_snapshot_lists_and_ends() -> None:
    log = Log().twitch(SubscriptionRenewal(months=12)).twitch(SubscriptionNew(), at=T + 2 * DAY, actor=BEA)
    log.kick(SubscriptionNew(expires_at=T + 9 * DAY))
    partial = SubscriptionSnapshot(complete=False, subscribers=())
    assert len(log.twitch(partial, at=T + 3 * DAY, actor=None).preview()) == 3
    listing = SubscriptionSnapshot(complete=True, subscribers=(Viewer("7", "Only listed"),))
    log.twitch(listing, at=T + DAY, actor=None)
    assert log.preview() == [
        ("Ann", "2024-02-09T12:00:00+00:00"),  # Kick's
        ("Only listed", "2024-03-01T12:00:00+00:00"),
        ("Bea", "2024-03-02T12:00:00+00:00"),
    ]
    log.twitch(SubscriptionNew(), at=T + DAY + US)  # later than the end, and what went before stays ended
    assert ("Ann", "2024-03-01T12:00:00+00:00") in log.preview()
    assert log.oracle.numbers(1).events_total() == 4


@pytest.mark.parametrize(
    ("at", "months", "then"),
    [
        ("2024-01-31T12:00:00+00:00", 1, "2024-02-29T12:00:00+00:00"),
        ("2023-01-29T00:00:00+00:00", 1, "2023-02-28T00:00:00+00:00"),
        ("2024-12-31T23:59:59.999999+00:00", 2, "2025-02-28T23:59:59.999999+00:00"),
        ("2024-11-30T12:00:00+00:00", 1, "2024-12-30T12:00:00+00:00"),
        ("2024-02-29T12:00:00+00:00", 12, "2025-02-28T12:00:00+00:00"),
        ("2024-02-01T00:30:00+01:00", 1, "2024-02-29T23:30:00+00:00"),  # UTC's day, the 31st of January
    ],
)
def test_calendar_months(at: str, months: int, then: str) -> None:
    assert add_months(datetime.fromisoformat(at), months) == datetime.fromisoformat(then)


def test_the_preview_is_cut_and_ties_by_exact_expiry_then_casefolded_name() -> None:
    log = Log()
    for id, name, us in (("10", "b", 0), ("9", "B", 0), ("8", "STRASSE", 0), ("7", "straße", 0), ("6", "a", 1)):
        log.kick(SubscriptionNew(expires_at=T + DAY + us * US), actor=Viewer(id, name))
    assert [name for name, _ in log.preview()] == ["b", "B", "straße", "STRASSE", "a"]
    assert log.oracle.subscriptions_active(1, BOTH, T, limit=2)["active_total"] == 5
    assert len(log.oracle.subscriptions_active(1, BOTH, T, limit=2)["preview"]) == 2


# ---------------------------------------------------------------------- coins and kicks


def test_what_earns_coins() -> None:
    log = Log()
    for second in (0, 59, 60):
        log.twitch(ChatMessage(message_id="m", message="hi"), at=T + timedelta(seconds=second))
    log.twitch(Followed()).twitch(Followed(), at=T + DAY)
    log.twitch(Cheered(amount=7)).twitch(SubscriptionNew(), at=T - 90 * DAY)
    log.twitch(SubscriptionRenewal(cumulative_months=2)).twitch(SubscriptionGifts(count=3))
    log.twitch(SubscriptionGiftReceived(), actor=BEA).twitch(Cheered(amount=99), actor=None)
    log.twitch(Cheered(amount=0), actor=Viewer("3", "has nothing"))
    log.kick(KicksGifted(amount=8), actor=BEA)
    assert log.board() == [("Ann", 2 + 10 + 7 + 100 + 100 + 150), ("Bea", 8)]
    assert log.oracle.coins(1, limit=1) == {
        "summary": {"total_coins": 377, "users_count": 2},
        "leaderboard": [{"username": "Ann", "coins": 369}],
    }


def test_kicks_with_an_anonymous_gift_and_a_rename() -> None:
    log = Log().kick(KicksGifted(amount=5), at=T + DAY).kick(KicksGifted(amount=50), actor=None)
    log.kick(KicksGifted(amount=1), actor=BEA).kick(KicksGifted(amount=4), actor=Viewer("2", "Bea2"), at=T - DAY)
    assert log.oracle.kicks(1, limit=3) == {
        "summary": {"total_kicks": 60, "gift_events": 4},
        "top_gifters": [{"username": "Ann", "kicks": 5}, {"username": "Bea", "kicks": 5}],
        "history": [{"actor": "Ann", "amount": 5}, {"actor": "Bea", "amount": 1}, {"actor": None, "amount": 50}],
    }


# ---------------------------------------------------------------------- names, events, form


def test_where_names_come_from() -> None:
    chat = ChatMessage(message_id="m", message="hi")
    log = Log().kick(chat).kick(SubscriptionGifts(count=1, giftees=(Viewer("1", "Gifted"),)), at=T + DAY, actor=BEA)
    assert ("Gifted", 1) in log.board()
    log.kick(Banned(target=Viewer("1", "Banned")), at=T + 2 * DAY, actor=BEA)
    log.twitch(chat, at=T + 2 * DAY, actor=Viewer("1", "Twitch's own"))
    log.kick(chat, at=T + 3 * DAY, actor=Viewer("1", "Elsewhere"), user_id=2)
    assert ("Gifted", 1) in log.board()
    log.twitch(SubscriptionGiftReceived(), at=T + 3 * DAY, actor=Viewer("1", "Received"))
    assert ("Received", 1) in log.board()


def test_events_are_stored_facts_newest_received_first() -> None:
    log = Log().twitch(ChatMessage(message_id="m", message=""), received_at=T + DAY)
    log.twitch(Cheered(amount=1, message="wow"), received_at=T + DAY, actor=None)
    log.twitch(SubscriptionGiftReceived()).twitch(SubscriptionSnapshot(), actor=None)
    redemption = RedemptionUpdated(
        redemption_id="r", reward_id="w", reward_title="W", cost=1, status="pending", user_input="typed"
    )
    log.kick(redemption, received_at=T).kick(Banned(target=BEA, reason="spam"), received_at=T - DAY)
    rows = log.oracle.events_history(1)
    assert [(row["type"], row["actor"], row["message"]) for row in rows] == [
        ("channel.cheered", None, "wow"),
        ("chat.message.sent", "Ann", None),
        ("channel.reward.redemption.updated", "Ann", None),
        ("moderation.banned", "Ann", None),
    ]
    assert log.oracle.events_history(1, type="channel.cheered") == rows[:1]
    assert log.oracle.events_history(1, type="channel.subscription.gift_received") == []
    assert log.oracle.events_history(1, limit=2) == rows[:2]
    assert log.oracle.numbers(1).events_total() == 4


def test_times_are_written_in_the_zone_and_cut() -> None:
    events = Log().kick(ChatMessage(message_id="m", message="x"), at=T + timedelta(seconds=0.9)).events
    oracle = Oracle(events, timezone=ZoneInfo("Europe/Prague"))
    assert oracle.events_history(1)[0]["received_at"] == "2024-01-31T13:00:00+01:00"


def test_answers_of_a_broadcaster_with_no_event_at_all() -> None:
    none = answers([], 1, ["kick"], T)
    nothing = {"active": 0, "gifted": 0, "new": 0, "resubs": 0, "all": 0, "by_platform": {"kick": {"active_total": 0}}}
    assert none["/api/public/v2/overview"] == {
        "stream_status": {"is_live": False, "platforms": {"kick": {"is_live": False}}},
        "subscriptions": nothing,
        "coins": {"total_coins": 0, "users_count": 0},
        "kicks": {"total_kicks": 0},
        "events": {"total": 0},
    }
    assert none["/api/public/v2/subscriptions-summary"] == nothing | {"history_count": 0}
    assert none["/api/public/v2/giveaway"] == {"settings": None, "entries": [], "winner": None, "is_open": False}
    assert none["/api/public/v2/wheel"] == {"title": None, "segments": [], "last_result": None}
    lists = ("song-request", "song-request/history", "giveaway/history", "wheel/history", "gamble", "events-history")
    assert [none[f"/api/public/v2/{path}"] for path in lists] == [[]] * len(lists)
    rules = {"chat_minute": 1, "follow": 10, "subscription": 100, "gift": 50, "kick": 1, "bit": 1}
    assert none["/api/public/v2/loyalty-rules"] == rules


def test_differences_name_the_place_and_allow_extra_keys_where_they_are_no_answer() -> None:
    assert differences({"a": [{"b": 1}]}, {"a": [{"b": 1, "more": 2}]}) == []
    assert differences({"a": [{"b": 1}]}, {"a": [{"b": 2}]}) == ["$.a[0].b: expected 1, served 2"]
    assert differences({"a": 1}, {}) == ["$.a: missing"]
    assert differences({"ok": True}, {"ok": 1}) != []
    assert differences([1], [1, 2]) != []
    offline = {"platforms": {"kick": {"is_live": False}}}
    assert differences(offline, {"platforms": {"kick": {"is_live": False, "stream_title": None}}}) != []
    assert differences(offline, {"platforms": {**offline["platforms"], "twitch": {"is_live": False}}}) != []


@given(logs(duplicates=False))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_the_oracle_itself_does_not_depend_on_the_order_of_the_log(log: list[Event]) -> None:
    shuffled = log[:]
    random.Random(len(log)).shuffle(shuffled)
    for user_id in (1, 2):
        one, other = (answers(map(encode_event, events), user_id, BOTH, T + 40 * DAY) for events in (log, shuffled))
        if any(event.type == "loyalty.rules_set" for event in log):  # what anything earns is the log's to decide then
            for answer in (one, other):
                del answer["/api/public/v2/loyalty-rules"], answer["/api/public/v2/coins"]
                del answer["/api/public/v2/overview"]["coins"]
        for history in ("/api/public/v2/events-history", "/api/public/v2/subscriptions-history"):
            for answer in (one, other):  # ties in received_at are the log's to decide
                answer[history] = sorted(answer[history], key=lambda row: sorted(map(repr, row.items())))
        assert one == other
