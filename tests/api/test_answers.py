"""What each route makes of its rows: seed keys always there, connected platforms only, times cut."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.control import BroadcasterRegistered, PlatformDisconnected
from tests.api.house import AT, USER, House

US = 1_780_763_400_999_999
TIME = "2026-06-06T16:30:00+00:00"

ROWS: dict[str, list[tuple[Any, ...]]] = {
    "stream_status": [("twitch", True, 134, "Ranked grind", "League of Legends"), ("kick", False, None, "Old", None)],
    "subscription_totals": [(7, 5, 12, 119)],
    "active_totals": [("kick", 30), ("twitch", 12)],
    "active_preview": [("viewer123", "kick", US)],
    "subscription_history": [("channel.subscription.gifts", "twitch", None, 5, US, 9)],
    "coins_summary": [(15320, 188)],
    "coins_leaderboard": [("viewer123", "kick", 450, 15320, 188)],
    "kicks_summary": [(342, 19)],
    "kicks_top": [("viewer999", 55)],
    "kicks_history": [("viewer999", 5, US, "kick:1")],
    "events_total": [(1389,)],
    "events_history": [("chat.message.sent", "twitch", "viewer1", "!watchtime", US, 9)],
    "coins_viewer": [("Ann", "kick", "1", 45, None, 1, 10, 100, 50, 2, 3, -20, -101)],
    "loyalty_rules": [(1, 10, 0, 50, 1, 1)],
    "song_queue": [("Ann", "youtube", "https://youtu.be/x", None, 61.5, "r1", US, "kick")],
    "song_history": [(None, None, None, None, "skipped", US, "streamkit:1:a", "r0")],
    "giveaway_now": [("g", "Win", "!join", '{"subs_only":true}', US, False, "Ann", "kick", False)],
    "giveaway_entries": [("Bob", "twitch")],
    "giveaway_history": [("g", "Win", None, US, None, 7, None, None, "streamkit:1:b")],
    "wheel_now": [("Luck", ["a", "b"], "c")],
    "wheel_history": [("c", None, US, "streamkit:1:c")],
    "gamble_history": [("Ann", "dice", "lose", 5, 0, "kick", US, "streamkit:1:d")],
}
EVENTS = {"limit": 51, "before": None} | dict.fromkeys(("type", "platform", "actor", "since_us", "until_us"))
STATUS = {
    "is_live": True,
    "platforms": {
        "kick": {"is_live": False},
        "twitch": {
            "is_live": True,
            "viewer_count": 134,
            "stream_title": "Ranked grind",
            "category_name": "League of Legends",
        },
    },
}
COUNTS = {
    "active": 42,
    "gifted": 12,
    "new": 7,
    "resubs": 5,
    "all": 24,
    "by_platform": {"kick": {"active_total": 30}, "twitch": {"active_total": 12}},
}
ANSWERS: dict[str, Any] = {
    "overview": {
        "stream_status": STATUS,
        "subscriptions": COUNTS,
        "coins": {"total_coins": 15320, "users_count": 188},
        "kicks": {"total_kicks": 342},
        "events": {"total": 1389},
    },
    "stream-status": STATUS,
    "subscriptions-summary": COUNTS | {"history_count": 119},
    "subscriptions-active": {
        "active_total": 42,
        "preview": [{"username": "viewer123", "expires_at": TIME, "platform": "kick"}],
    },
    "subscriptions-history": [
        {"type": "channel.subscription.gifts", "platform": "twitch", "actor": None, "count": 5, "received_at": TIME}
    ],
    "coins": {
        "summary": {"total_coins": 15320, "users_count": 188},
        "leaderboard": [{"username": "viewer123", "coins": 450, "platform": "kick"}],
    },
    "kicks": {
        "summary": {"total_kicks": 342, "gift_events": 19},
        "top_gifters": [{"username": "viewer999", "kicks": 55}],
        "history": [{"actor": "viewer999", "amount": 5, "occurred_at": TIME}],
    },
    "events-history": [
        {
            "type": "chat.message.sent",
            "platform": "twitch",
            "actor": "viewer1",
            "message": "!watchtime",
            "received_at": TIME,
        }
    ],
    "coins/viewer?platform=kick&username=ann": {
        "username": "Ann",
        "platform": "kick",
        "id": "1",
        "coins": 45,
        "rank": None,
        "earned": {
            "chat_minute": 1,
            "follow": 10,
            "subscription": 100,
            "gift": 50,
            "kick": 2,
            "bit": 3,
            "adjustment": -20,
            "gamble": -101,
        },
    },
    "loyalty-rules": {"chat_minute": 1, "follow": 10, "subscription": 0, "gift": 50, "kick": 1, "bit": 1},
    "song-request": [
        {
            "requester_username": "Ann",
            "provider": "youtube",
            "song_url": "https://youtu.be/x",
            "platform": "kick",
            "title": None,
            "duration_s": 61.5,
            "request_id": "r1",
            "requested_at": TIME,
        }
    ],
    "song-request/history": [
        {
            "requester_username": None,
            "provider": None,
            "song_url": None,
            "title": None,
            "outcome": "skipped",
            "request_id": "r0",
            "ended_at": TIME,
        }
    ],
    "giveaway": {
        "settings": {"title": "Win", "keyword": "!join", "subs_only": True},
        "entries": [{"username": "Bob", "platform": "twitch"}],
        "winner": {"username": "Ann", "platform": "kick", "entered": False},
        "is_open": False,
    },
    "giveaway/history": [
        {
            "giveaway_id": "g",
            "title": "Win",
            "keyword": None,
            "opened_at": TIME,
            "ended_at": None,
            "entries": 7,
            "winner": None,
        }
    ],
    "wheel": {"title": "Luck", "segments": ["a", "b"], "last_result": "c"},
    "wheel/history": [{"result": "c", "actor": None, "spun_at": TIME}],
    "gamble": [
        {
            "username": "Ann",
            "game_type": "dice",
            "outcome": "lose",
            "bet": 5,
            "payout": 0,
            "platform": "kick",
            "played_at": TIME,
        }
    ],
}


async def test_nothing_of_the_bot_yet(house: House) -> None:
    assert (await house.get("song-request")).json["data"] == []
    nothing: dict[str, Any] = {"settings": None, "entries": [], "winner": None, "is_open": False}
    assert (await house.get("giveaway")).json["data"] == nothing
    assert (await house.get("wheel")).json["data"] == {"title": None, "segments": [], "last_result": None}
    assert (await house.get("gamble")).json["data"] == []
    missing = await house.get("coins/viewer?platform=kick&username=nobody")
    assert (missing.status, missing.json["error"]) == (404, "not_found")


@pytest.mark.parametrize("route", ANSWERS)
async def test_a_routes_data(house: House, route: str) -> None:
    house.reads.rows |= ROWS
    reply = await house.get(route)
    assert reply.status == 200
    assert reply.json["data"] == ANSWERS[route]
    assert reply.headers["Streamkit-Position"] == "0:10"
    assert len(house.reads.asked) == 1, "the read models are asked once per response"


async def test_a_broadcaster_without_a_platform(house: House) -> None:
    house.apply(BroadcasterRegistered(at=AT, user_id=9, name="New", primary_platform="kick"))
    house.reads.rows |= ROWS
    triple = house.issue(9)
    overview = (await house.get("overview", headers=triple.headers())).json
    assert overview["broadcaster"] == {
        "user_id": 9,
        "name": "New",
        "primary_platform": None,
        "platforms": {},
        "kick_username": None,
        "kick_user_id": None,
    }
    assert overview["data"]["stream_status"] == {"is_live": False, "platforms": {}}
    assert overview["data"]["subscriptions"] == COUNTS | {"active": 0, "by_platform": {}}


async def test_a_disconnected_platform_leaves_status_and_active(house: House) -> None:
    house.reads.rows |= ROWS
    assert (await house.get("stream-status")).json["data"] == STATUS
    house.apply(PlatformDisconnected(at=AT, user_id=USER, platform="twitch"))
    body = (await house.get("stream-status")).json
    assert body["data"] == {"is_live": False, "platforms": {"kick": {"is_live": False}}}
    assert body["broadcaster"]["primary_platform"] == "kick"
    summary = (await house.get("subscriptions-summary")).json["data"]
    assert summary == ANSWERS["subscriptions-summary"] | {"active": 30, "by_platform": {"kick": {"active_total": 30}}}


async def test_a_connected_platform_without_rows_is_offline(house: House) -> None:
    body = (await house.get("stream-status")).json
    assert body["data"] == {
        "is_live": False,
        "platforms": {"kick": {"is_live": False}, "twitch": {"is_live": False}},
    }


async def test_live_without_details_says_null(house: House) -> None:
    house.reads.rows["stream_status"] = [("kick", True, None, None, None)]
    data = (await house.get("stream-status")).json["data"]
    assert data["platforms"]["kick"] == {
        "is_live": True,
        "viewer_count": None,
        "stream_title": None,
        "category_name": None,
    }


@pytest.mark.parametrize(
    ("path", "question", "parameters"),
    [
        ("subscriptions-history", "subscription_history", {"limit": 51, "before": None}),
        ("coins", "coins_leaderboard", {"limit": 25}),
        ("kicks?limit=100", "kicks_history", {"limit": 101, "before": None}),
        ("kicks?limit=100", "kicks_top", {"limit": 25}),
        ("events-history", "events_history", EVENTS),
        ("events-history?limit=1&type=no%20such", "events_history", EVENTS | {"limit": 2, "type": "no such"}),
        ("events-history?type=", "events_history", EVENTS | {"type": ""}),
        (
            "events-history?platform=kick&actor=Ann%20B",
            "events_history",
            EVENTS | {"platform": "kick", "actor": "Ann B"},
        ),
        ("events-history?since=1970-01-01T01:00:01.5%2B01:00", "events_history", EVENTS | {"since_us": 1_500_000}),
        ("events-history?since=1970-01-01T01:00:01+01:00", "events_history", EVENTS | {"since_us": 1_000_000}),
        ("events-history?until=1970-01-01T00:00:00.1234567Z", "events_history", EVENTS | {"until_us": 123_456}),
        ("coins/viewer?platform=kick&username=Ann", "coins_viewer", {"platform": "kick", "username": "Ann"}),
        ("song-request", "song_queue", {"limit": 10}),
        ("song-request/history", "song_history", {"limit": 11, "before": None}),
        ("giveaway/history", "giveaway_history", {"limit": 11, "before": None}),
        ("wheel/history?limit=3", "wheel_history", {"limit": 4, "before": None}),
        ("gamble", "gamble_history", {"limit": 11, "before": None}),
    ],
)
async def test_parameters_reach_the_question(
    house: House, path: str, question: str, parameters: dict[str, object]
) -> None:
    assert (await house.get(path)).status in (200, 404)
    ((user_id, questions),) = house.reads.asked
    assert user_id == USER
    assert {each.name: each.parameters for each in questions}[question] == parameters


@pytest.mark.parametrize(
    "route",
    [
        "song-request",
        "song-request/history",
        "giveaway/history",
        "wheel/history",
        "gamble",
        "subscriptions-history",
        "coins",
        "kicks",
    ],
)
async def test_every_limit_is_checked(house: House, route: str) -> None:
    assert (await house.get(f"{route}?limit=101")).status == 400
    assert (await house.get(f"{route}?limit=100")).status == 200


async def test_active_is_asked_at_generated_at_for_connected_platforms(house: House) -> None:
    body = (await house.get("subscriptions-active")).json
    (_, questions) = house.reads.asked[0]
    for question in questions:
        assert question.parameters["platforms"] == ["kick", "twitch"]
        now_us: int = question.parameters["now_us"]
        from datetime import UTC, datetime

        assert datetime.fromtimestamp(now_us // 1_000_000, UTC).isoformat() == body["generated_at"]
