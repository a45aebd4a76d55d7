"""What the public API puts under `data`, one struct per shape, and the envelope around it.

The OpenAPI document is made from these structs. Seed keys are always present; a key that may be absent is
UNSET, one that may be null is `| None`. Times are strings in the deployment's time zone, cut to the second.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

Time = Annotated[
    str,
    Meta(
        description="ISO 8601 to the second, with the offset of the deployment's time zone.",
        examples=["2026-06-06T18:30:00+02:00"],
        extra_json_schema={"format": "date-time"},
    ),
]
Count = Annotated[int, Meta(ge=0)]
Name = Annotated[str, Meta(description="The name as the platform shows it.", examples=["viewer123"])]
PlatformName = Annotated[str, Meta(description="kick, twitch, or streamkit for events of StreamKit's own.")]


class PlatformAccount(Struct, frozen=True):
    """A connected platform account. `id` is the platform's own user id."""

    username: str
    id: str


class BroadcasterInfo(Struct, frozen=True):
    """Whose numbers these are. `platforms` lists connected platforms only, by name (kick, twitch)."""

    user_id: int
    name: str
    primary_platform: Literal["kick", "twitch"] | None
    platforms: dict[str, PlatformAccount]
    kick_username: Annotated[str | None, Meta(description="Kept for v1; null without Kick. Prefer platforms.")]
    kick_user_id: Annotated[str | None, Meta(description="Kept for v1; null without Kick. Prefer platforms.")]


class Success(Struct, frozen=True):
    """The envelope of every success."""

    ok: Literal[True]
    version: Literal["v2"]
    generated_at: Annotated[
        str,
        Meta(
            description="When this body was built: ISO 8601 to the second, in the deployment's time zone.",
            examples=["2026-06-06T00:00:00+02:00"],
            extra_json_schema={"format": "date-time"},
        ),
    ]
    broadcaster: BroadcasterInfo
    data: Any
    next: Annotated[
        str | UnsetType | None,
        Meta(description="The `cursor` of the next page, on paths that have pages; null on the last one."),
    ] = UNSET


class FieldError(Struct, frozen=True):
    """One mistake in a request body."""

    path: Annotated[str, Meta(description="Where, as JSONPath.", examples=["$.title"])]
    message: str


class Failure(Struct, frozen=True):
    """The body of every failure: ok, error and message, with the RFC 9457 members beside them."""

    ok: Literal[False]
    error: Annotated[str, Meta(description="Machine code; it does not change.")]
    message: Annotated[str, Meta(description="One sentence for people; it may change.")]
    type: Annotated[str, Meta(description="RFC 9457: the code as a URN.", extra_json_schema={"format": "uri"})]
    title: str
    status: int
    detail: str
    instance: Annotated[
        str,
        Meta(
            description="The path of the request, without its query.",
            extra_json_schema={"format": "uri-reference"},
        ),
    ]
    errors: list[FieldError] | UnsetType = UNSET


class PlatformStatus(Struct, frozen=True):
    """A connected platform's stream. Offline it carries `is_live` alone; live, what is not known yet is null."""

    is_live: bool
    viewer_count: Annotated[int, Meta(ge=0)] | UnsetType | None = UNSET
    stream_title: str | UnsetType | None = UNSET
    category_name: str | UnsetType | None = UNSET


class StreamStatus(Struct, frozen=True):
    """`is_live` is true when any connected platform is live."""

    is_live: bool
    platforms: dict[str, PlatformStatus]


class PlatformActive(Struct, frozen=True):
    """Active subscriptions on one platform."""

    active_total: Count


class SubscriptionCounts(Struct, frozen=True):
    """`active` is an estimate at generated_at and the sum over by_platform; `all` is gifted + new + resubs."""

    active: Count
    gifted: Annotated[int, Meta(ge=0, description="Gifted subscriptions, one for each giftee.")]
    new: Annotated[int, Meta(ge=0, description="Bought for oneself, first time or after a lapse.")]
    resubs: Annotated[int, Meta(ge=0, description="Renewals that count.")]
    all: Count
    by_platform: dict[str, PlatformActive]


class SubscriptionSummary(SubscriptionCounts, frozen=True):
    """The counters with `history_count`, the rows that subscriptions-history pages through."""

    history_count: Count


class CoinsSummary(Struct, frozen=True):
    """The sum of the balances above zero, and how many viewers have one."""

    total_coins: Count
    users_count: Count


class KicksTotal(Struct, frozen=True):
    """All kicks gifted."""

    total_kicks: Count


class EventsTotal(Struct, frozen=True):
    """All events stored, chat included."""

    total: Count


class Overview(Struct, frozen=True):
    """Quick summary of everything."""

    stream_status: StreamStatus
    subscriptions: SubscriptionCounts
    coins: CoinsSummary
    kicks: KicksTotal
    events: EventsTotal


class ActiveSubscriber(Struct, frozen=True):
    """A subscription that expires at `expires_at` unless renewed."""

    username: Name
    expires_at: Time
    platform: PlatformName


class ActiveSubscriptions(Struct, frozen=True):
    """`preview` holds up to 25 that expire next, soonest first."""

    active_total: Count
    preview: list[ActiveSubscriber]


class SubscriptionRecord(Struct, frozen=True):
    """`actor` is the buyer, renewer or gifter, null when anonymous; `count` is 1 or the number gifted."""

    type: Annotated[str, Meta(examples=["channel.subscription.gifts"])]
    platform: PlatformName
    actor: str | None
    count: Count
    received_at: Time


class CoinsLeader(Struct, frozen=True):
    """A viewer's balance."""

    username: Name
    coins: Count
    platform: PlatformName


class Coins(Struct, frozen=True):
    """Leaderboard: coins descending."""

    summary: CoinsSummary
    leaderboard: list[CoinsLeader]


class KicksSummary(Struct, frozen=True):
    """The sum of all gifts of kicks and their number."""

    total_kicks: Count
    gift_events: Count


class TopGifter(Struct, frozen=True):
    """A viewer's gifts in all."""

    username: Name
    kicks: Count


class CoinsEarned(Struct, frozen=True):
    """What earned or took a viewer's coins, by rule."""

    chat_minute: int
    follow: int
    subscription: int
    gift: int
    kick: int
    bit: int
    adjustment: Annotated[int, Meta(description="Set by the streamer; may be negative.")]
    gamble: Annotated[int, Meta(description="Payouts less bets; may be negative.")]


class CoinsViewer(Struct, frozen=True):
    """One viewer's balance and its place in the leaderboard, null when it is not above zero."""

    username: Name
    platform: PlatformName
    id: Annotated[str, Meta(description="The platform's user id.")]
    coins: int
    rank: Annotated[int, Meta(ge=1)] | None
    earned: CoinsEarned


class LoyaltyRules(Struct, frozen=True):
    """Coins by rule, as they stand: for a minute of chat, the first follow, a subscription, a gifted one, a kick, a bit."""

    chat_minute: Count
    follow: Count
    subscription: Count
    gift: Count
    kick: Count
    bit: Count


class KicksGift(Struct, frozen=True):
    """One gift; `actor` is null when anonymous."""

    actor: str | None
    amount: Count
    occurred_at: Time


class Kicks(Struct, frozen=True):
    """The 25 top gifters by sum, and the history, newest first."""

    summary: KicksSummary
    top_gifters: list[TopGifter]
    history: list[KicksGift]


class SongRequest(Struct, frozen=True):
    """A song that waits; the list is in play order."""

    requester_username: str
    provider: Annotated[str, Meta(examples=["youtube"])]
    song_url: str
    platform: PlatformName
    title: str | None
    duration_s: float | None
    request_id: str
    requested_at: Time


class PlayedSong(Struct, frozen=True):
    """A song that was played or skipped; what its request said is null when none was told."""

    requester_username: str | None
    provider: Annotated[str | None, Meta(examples=["youtube"])]
    song_url: str | None
    title: str | None
    outcome: Literal["played", "skipped"]
    request_id: str
    ended_at: Time


class GiveawaySettings(Struct, frozen=True):
    """The settings as last set, further ones as they were sent; `keyword` is null when there is none."""

    title: str
    keyword: str | None


class GiveawayEntry(Struct, frozen=True):
    """An entrant; the list is in entry order."""

    username: str
    platform: PlatformName


class GiveawayWinner(Struct, frozen=True):
    """Who won, by the streamer's word. `entered`: whether an entry of theirs counts."""

    username: str
    platform: PlatformName
    entered: bool


class Giveaway(Struct, frozen=True):
    """The open or latest giveaway; `settings` is null before the first one, `winner` until one is drawn."""

    settings: GiveawaySettings | None
    entries: list[GiveawayEntry]
    winner: GiveawayWinner | None
    is_open: bool


class PastWinner(Struct, frozen=True):
    """Who won, by the streamer's word."""

    username: str
    platform: PlatformName


class GiveawayRecord(Struct, frozen=True):
    """One giveaway; `ended_at` is null while it is open, `winner` when none was drawn."""

    giveaway_id: str
    title: str
    keyword: str | None
    opened_at: Time
    ended_at: Time | None
    entries: Annotated[int, Meta(ge=0, description="How many viewers entered.")]
    winner: PastWinner | None


class WheelSpin(Struct, frozen=True):
    """One spin; `actor` is null when nobody is named."""

    result: str
    actor: str | None
    spun_at: Time


class Wheel(Struct, frozen=True):
    """`title` is null until the wheel is configured, `last_result` before the first spin."""

    title: str | None
    segments: list[str]
    last_result: str | None


class GambleResult(Struct, frozen=True):
    """One game, newest first."""

    username: str
    game_type: Annotated[str, Meta(examples=["coinflip"])]
    outcome: Annotated[str, Meta(examples=["win"])]
    bet: Count
    payout: Count
    platform: PlatformName
    played_at: Time


class StoredEvent(Struct, frozen=True):
    """A stored event; `actor` is null when anonymous, `message` where there is none."""

    type: Annotated[str, Meta(examples=["chat.message.sent"])]
    platform: PlatformName
    actor: str | None
    message: str | None
    received_at: Time


class StreamInfo(Struct, frozen=True):
    """What was changed; a field that was not sent is null."""

    updated: bool
    title: str | None
    category: str | None


class StreamInfoChange(Struct, frozen=True, forbid_unknown_fields=True):
    """Title, category or both."""

    title: Annotated[str, Meta(min_length=1, max_length=500)] | UnsetType = UNSET
    category: Annotated[str, Meta(min_length=1, max_length=200)] | UnsetType = UNSET
