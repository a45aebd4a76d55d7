"""Every path of the public API, declared once: the router and the OpenAPI document are made from ROUTES.

A route names its scope, its parameters, the questions it asks of the read models, and the function that turns
their rows into `data`. A read route is this declaration and nothing else.
"""

from __future__ import annotations

from api import answers as make
from api import engagement
from api.answers import Asked
from api.parameters import CURSOR, CURSOR_BY_POSITION, limit
from api.read import PREFIX, History, Read, by_receipt, limited, paged
from schemas import answers
from schemas.openapi import Operation, Parameter
from streamkit.reads import Question

TOP_GIFTERS = 25
PREVIEW = 25


def _active_totals(asked: Asked) -> Question:
    return Question("active_totals", {"now_us": asked.now_us, "platforms": asked.platforms})


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
    parameters=(limit(50, "Number of rows to return."), CURSOR_BY_POSITION),
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
    questions=lambda asked: (paged("subscription_history", asked),),
    build=make.subscriptions_history,
    history=History(by_receipt),
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
    questions=lambda asked: (limited("coins_leaderboard", asked),),
    build=make.coins,
)
COINS_VIEWER = Read(
    path=f"{PREFIX}/coins/viewer",
    tag="Economy",
    summary="Coins of a viewer",
    description="One viewer's balance, place in the leaderboard, and what earned it, by rule. Found by the newest name, in "
    "any case; of several, the one that was seen last.",
    parameters=(
        Parameter("platform", "string", "Platform of the viewer.", choices=("kick", "twitch"), required=True),
        Parameter("username", "string", "The viewer's name, in any case.", example="viewer123", required=True),
    ),
    data=answers.CoinsViewer,
    example={
        "username": "viewer123",
        "platform": "kick",
        "id": "84635624",
        "coins": 450,
        "rank": 1,
        "earned": {
            "chat_minute": 140,
            "follow": 10,
            "subscription": 200,
            "gift": 0,
            "kick": 60,
            "bit": 0,
            "adjustment": 50,
            "gamble": -10,
        },
    },
    questions=lambda asked: (
        Question(
            "coins_viewer", {"platform": asked.parameters.platform or "", "username": asked.parameters.username or ""}
        ),
    ),
    build=make.coins_viewer,
    problems=("not_found",),
)
LOYALTY_RULES = Read(
    path=f"{PREFIX}/loyalty-rules",
    tag="Economy",
    summary="Loyalty rules",
    description="Coins by rule, as they stand. A change governs what comes after it; nothing is priced anew.",
    data=answers.LoyaltyRules,
    example={"chat_minute": 1, "follow": 10, "subscription": 100, "gift": 50, "kick": 1, "bit": 1},
    questions=lambda asked: (Question("loyalty_rules"),),
    build=make.loyalty_rules,
)
KICKS = Read(
    path=f"{PREFIX}/kicks",
    tag="Economy",
    summary="Kicks",
    description="Kick gifting summary, top gifters and observed historical kick events (Kick-specific; Twitch cheers "
    "arrive via events-history as channel.cheered).",
    parameters=(limit(25, "History size."), CURSOR),
    data=answers.Kicks,
    example={
        "summary": {"total_kicks": 342, "gift_events": 19},
        "top_gifters": [{"username": "viewer999", "kicks": 55}],
        "history": [{"actor": "viewer999", "amount": 5, "occurred_at": "2026-06-06T18:30:00+02:00"}],
    },
    questions=lambda asked: (
        Question("kicks_summary"),
        Question("kicks_top", {"limit": TOP_GIFTERS}),
        paged("kicks_history", asked),
    ),
    build=make.kicks,
    history=History(lambda row: (row.occurred_us, row.event_id), question=2),
)
EVENTS_HISTORY = Read(
    path=f"{PREFIX}/events-history",
    tag="Events",
    summary="Historical events",
    description="Latest stored events (Kick + Twitch), newest first. You can optionally filter.",
    parameters=(
        limit(50, "Max number of items."),
        Parameter(
            "type",
            "string",
            "Exact event type filter, e.g. chat.message.sent. A type that no event has gives an empty list.",
            example="chat.message.sent",
        ),
        Parameter(
            "platform",
            "string",
            "Platform filter; streamkit: what no viewer of a platform did.",
            choices=("kick", "twitch", "streamkit"),
        ),
        Parameter("actor", "string", "Filter by the actor's name, exactly as shown.", example="viewer1"),
        Parameter("since", "time", "Received at this time or later.", example="2026-06-06T18:00:00+02:00"),
        Parameter("until", "time", "Received before this time.", example="2026-06-06T19:00:00+02:00"),
        CURSOR_BY_POSITION,
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
        Question(
            "events_history",
            {
                "limit": asked.parameters.limit + 1,
                "before": asked.parameters.before,
                "type": asked.parameters.type,
                "platform": asked.parameters.platform,
                "actor": asked.parameters.actor,
                "since_us": asked.parameters.since_us,
                "until_us": asked.parameters.until_us,
            },
        ),
    ),
    build=make.events_history,
    history=History(by_receipt),
)

STREAM_INFO = Operation(
    path=f"{PREFIX}/stream-info",
    method="POST",
    tag="Core",
    summary="Update stream info",
    description="Updates title and/or category on the primary connected broadcaster account; a category by its name or the "
    "platform's id. Until the primary platform is connected for writing, this answers 409 no_connected_platform: no other "
    "is written instead. What stream-status shows changes when the platform says so. Answers within 15 s.",
    scope="stream-info:write",
    data=answers.StreamInfo,
    example={"updated": True, "title": "Just Chatting with chat", "category": "Just Chatting"},
    body=answers.StreamInfoChange,
    keyed=True,
    problems=(
        "invalid_parameter",
        "insufficient_platform_scope",
        "no_connected_platform",
        "platform_error",
        "outcome_unknown",
    ),
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
    COINS_VIEWER,
    LOYALTY_RULES,
    KICKS,
    *engagement.READS,
    EVENTS_HISTORY,
)
ROUTES: tuple[Operation, ...] = (*READS, STREAM_INFO, OPENAPI)
