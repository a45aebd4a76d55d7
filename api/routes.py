"""Every path of the public API, declared once: the router and the OpenAPI document are made from ROUTES.

A route names its scope, its parameters, the questions it asks of the read models, and the function that turns
their rows into `data`. A read route is this declaration and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from api import answers as make
from api import engagement
from api.answers import Asked
from api.parameters import limit
from schemas import answers
from schemas.openapi import Operation, Parameter
from streamkit.reads import Question

PREFIX = "/api/public/v2"
TOP_GIFTERS = 25
PREVIEW = 25


class Read(Operation, frozen=True, kw_only=True):
    """A GET that is answered from the read models, asked once at one position.

    `build` takes Asked and the rows of each question, in the order of `questions`.
    """

    questions: Callable[[Asked], tuple[Question, ...]] = lambda asked: ()
    build: Callable[..., Any]


def _active_totals(asked: Asked) -> Question:
    return Question("active_totals", {"now_us": asked.now_us, "platforms": asked.platforms})


def _limited(name: str, asked: Asked) -> Question:
    return Question(name, {"limit": asked.parameters.limit})


_STATUS_EXAMPLE = {
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
_COUNTS_EXAMPLE = {
    "active": 42,
    "gifted": 12,
    "new": 7,
    "resubs": 5,
    "all": 24,
    "by_platform": {"kick": {"active_total": 30}, "twitch": {"active_total": 12}},
}

OVERVIEW = Read(
    path=f"{PREFIX}/overview",
    tag="Core",
    summary="Overview",
    description="Quick summary across stream status, subscriptions, coins, kicks and event totals.",
    data=answers.Overview,
    example={
        "stream_status": _STATUS_EXAMPLE,
        "subscriptions": _COUNTS_EXAMPLE,
        "coins": {"total_coins": 15320, "users_count": 188},
        "kicks": {"total_kicks": 342},
        "events": {"total": 1389},
    },
    questions=lambda asked: (
        Question("stream_status"),
        Question("subscription_totals"),
        _active_totals(asked),
        Question("coins_summary"),
        Question("kicks_summary"),
        Question("events_total"),
    ),
    build=make.overview,
)
STREAM_STATUS = Read(
    path=f"{PREFIX}/stream-status",
    tag="Core",
    summary="Stream status",
    description="Live/offline state for every connected platform (Kick + Twitch) plus a combined is_live flag.",
    data=answers.StreamStatus,
    example=_STATUS_EXAMPLE,
    questions=lambda asked: (Question("stream_status"),),
    build=make.stream_status,
)
SUBSCRIPTIONS_SUMMARY = Read(
    path=f"{PREFIX}/subscriptions-summary",
    tag="Subscriptions",
    summary="Subscription summary",
    description="Counters for active subs, gifted subs, new subs, resubs and observed history, broken down per "
    "platform.",
    data=answers.SubscriptionSummary,
    example=_COUNTS_EXAMPLE | {"history_count": 119},
    questions=lambda asked: (Question("subscription_totals"), _active_totals(asked)),
    build=make.subscription_summary,
)
SUBSCRIPTIONS_ACTIVE = Read(
    path=f"{PREFIX}/subscriptions-active",
    tag="Subscriptions",
    summary="Active subscriptions",
    description="Estimated active subscribers: how many, and a preview of those that expire next.",
    data=answers.ActiveSubscriptions,
    example={
        "active_total": 42,
        "preview": [{"username": "viewer123", "expires_at": "2026-07-10T18:30:00+02:00", "platform": "kick"}],
    },
    questions=lambda asked: (
        _active_totals(asked),
        Question("active_preview", {"now_us": asked.now_us, "platforms": asked.platforms, "limit": PREVIEW}),
    ),
    build=make.subscriptions_active,
)
SUBSCRIPTIONS_HISTORY = Read(
    path=f"{PREFIX}/subscriptions-history",
    tag="Subscriptions",
    summary="Subscription history",
    description="Historical subscription events including new, renewal and gifted records, newest first.",
    parameters=(limit(50, "Number of rows to return."),),
    data=list[answers.SubscriptionRecord],
    example=[
        {
            "type": "channel.subscription.gifts",
            "platform": "twitch",
            "actor": "viewer123",
            "count": 5,
            "received_at": "2026-06-06T18:30:00+02:00",
        }
    ],
    questions=lambda asked: (_limited("subscription_history", asked),),
    build=make.subscriptions_history,
)
COINS = Read(
    path=f"{PREFIX}/coins",
    tag="Economy",
    summary="Coins",
    description="Loyalty coin totals and leaderboard of top viewers.",
    parameters=(limit(25, "Leaderboard size."),),
    data=answers.Coins,
    example={
        "summary": {"total_coins": 15320, "users_count": 188},
        "leaderboard": [{"username": "viewer123", "coins": 450, "platform": "kick"}],
    },
    questions=lambda asked: (_limited("coins_leaderboard", asked),),
    build=make.coins,
)
KICKS = Read(
    path=f"{PREFIX}/kicks",
    tag="Economy",
    summary="Kicks",
    description="Kick gifting summary, top gifters and observed historical kick events (Kick-specific; Twitch cheers "
    "arrive via events-history as channel.cheered).",
    parameters=(limit(25, "History size."),),
    data=answers.Kicks,
    example={
        "summary": {"total_kicks": 342, "gift_events": 19},
        "top_gifters": [{"username": "viewer999", "kicks": 55}],
        "history": [{"actor": "viewer999", "amount": 5, "occurred_at": "2026-06-06T18:30:00+02:00"}],
    },
    questions=lambda asked: (
        Question("kicks_summary"),
        Question("kicks_top", {"limit": TOP_GIFTERS}),
        _limited("kicks_history", asked),
    ),
    build=make.kicks,
)
SONG_REQUEST = Read(
    path=f"{PREFIX}/song-request",
    tag="Engagement",
    summary="Song Request queue",
    description="Current queue of requested songs, in play order.",
    parameters=(limit(10, "Queue size."),),
    data=list[answers.SongRequest],
    example=[{"requester_username": "viewer123", "provider": "youtube", "song_url": "https://youtu.be/..."}],
    build=engagement.song_request,
)
GIVEAWAY = Read(
    path=f"{PREFIX}/giveaway",
    tag="Engagement",
    summary="Giveaway state",
    description="Current giveaway settings, entries and winner.",
    data=answers.Giveaway,
    example={
        "settings": {"title": "Giveaway", "keyword": "!join"},
        "entries": [{"username": "viewer1"}],
        "winner": None,
    },
    build=engagement.giveaway,
)
WHEEL = Read(
    path=f"{PREFIX}/wheel",
    tag="Engagement",
    summary="Wheel state",
    description="Wheel title, configured segments and last result.",
    data=answers.Wheel,
    example={"title": "Wheel of Fortune", "segments": ["100 coins", "Hydrate"], "last_result": "Hydrate"},
    build=engagement.wheel,
)
GAMBLE = Read(
    path=f"{PREFIX}/gamble",
    tag="Engagement",
    summary="Gamble history",
    description="Latest gamble results for overlay widgets or dashboards, newest first.",
    parameters=(limit(10, "History size."),),
    data=list[answers.GambleResult],
    example=[
        {
            "username": "viewer1",
            "game_type": "coinflip",
            "outcome": "win",
            "bet": 10,
            "payout": 20,
            "platform": "kick",
            "played_at": "2026-06-06T18:30:00+02:00",
        }
    ],
    build=engagement.gamble,
)
EVENTS_HISTORY = Read(
    path=f"{PREFIX}/events-history",
    tag="Events",
    summary="Historical events",
    description="Latest stored events (Kick + Twitch), newest first. You can optionally filter by event type.",
    parameters=(
        limit(50, "Max number of items."),
        Parameter(
            "type",
            "string",
            "Exact event type filter, e.g. chat.message.sent. A type that no event has gives an empty list.",
            example="chat.message.sent",
        ),
    ),
    data=list[answers.StoredEvent],
    example=[
        {
            "type": "chat.message.sent",
            "platform": "twitch",
            "actor": "viewer1",
            "message": "!watchtime",
            "received_at": "2026-06-06T18:35:00+02:00",
        }
    ],
    questions=lambda asked: (
        Question("events_history", {"limit": asked.parameters.limit, "type": asked.parameters.type}),
    ),
    build=make.events_history,
)

STREAM_INFO = Operation(
    path=f"{PREFIX}/stream-info",
    method="POST",
    tag="Core",
    summary="Update stream info",
    description="Updates title and/or category on the primary connected broadcaster account. Until a platform is "
    "connected for writing, this answers 409 no_connected_platform.",
    scope="stream-info:write",
    data=answers.StreamInfo,
    example={"updated": True, "title": "Just Chatting with chat", "category": "Just Chatting"},
    body=answers.StreamInfoChange,
    body_example={"title": "Just Chatting with chat", "category": "Just Chatting"},
)
OPENAPI = Operation(
    path="/api/public/openapi",
    tag="Documentation",
    summary="OpenAPI document",
    description="This description of the API, for Swagger UI, Postman, Insomnia or a code generator. Needs no "
    "credentials.",
    scope=None,
    parameters=(Parameter("version", "string", "Version of the API.", "v2", choices=("v2",)),),
)

READS: tuple[Read, ...] = (
    OVERVIEW,
    STREAM_STATUS,
    SUBSCRIPTIONS_SUMMARY,
    SUBSCRIPTIONS_ACTIVE,
    SUBSCRIPTIONS_HISTORY,
    COINS,
    KICKS,
    SONG_REQUEST,
    GIVEAWAY,
    WHEEL,
    GAMBLE,
    EVENTS_HISTORY,
)
ROUTES: tuple[Operation, ...] = (*READS, STREAM_INFO, OPENAPI)
