"""The data of every kind of event, one frozen struct per canonical type.

`KINDS` maps the envelope's `type` (the tag of the union) to its struct. Field names are ours; the codecs
translate. Optional fields are left out of the JSON when they hold their default. Ids are strings, times are
aware UTC, `*_s` are seconds. What may not live here: anything that knows a platform's spelling.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct

from schemas.first_party_kinds import FIRST_PARTY_STRUCTS, FirstParty

RedemptionStatus = Literal["pending", "accepted", "rejected"]


class _Data(Struct, frozen=True, kw_only=True, omit_defaults=True):
    pass


class Viewer(Struct, frozen=True, omit_defaults=True):
    """Someone on a platform: `id` is the platform's user id, `name` as shown, `login` Twitch's lower-case name."""

    id: str
    name: str
    login: str | None = None


class Emote(Struct, frozen=True):
    """An emote in a message: `begin` and `end` are inclusive character offsets as the platform gave them."""

    id: str
    begin: int
    end: int


class Badge(Struct, frozen=True, omit_defaults=True):
    """A chat badge: `kind` (moderator, subscriber, …), `value` its level or months where given."""

    kind: str
    value: str | None = None


class ChatMessage(_Data, frozen=True):
    """`chat.message.sent`. `first_word` is the first `str.split()` word, casefolded (None: empty or over 200
    characters); giveaway keywords are compared with it. `by_broadcaster`: the channel's own account wrote it."""

    message_id: str
    message: str
    first_word: str | None = None
    by_broadcaster: bool = False
    reply_to: str | None = None
    color: str | None = None
    badges: tuple[Badge, ...] = ()
    emotes: tuple[Emote, ...] = ()


class Followed(_Data, frozen=True):
    """`channel.followed`. The actor is the follower."""


class _Subscription(_Data, frozen=True):
    """`tier` 1, 2 or 3 and `tier_id` as Twitch spells it; Kick has one tier: None."""

    tier: int | None = None
    tier_id: str | None = None


class SubscriptionNew(_Subscription, frozen=True):
    """`channel.subscription.new`. `months` bought at once; `expires_at` where the platform says it (Kick)."""

    months: int | None = None
    started_at: datetime | None = None
    expires_at: datetime | None = None


class SubscriptionRenewal(_Subscription, frozen=True):
    """`channel.subscription.renewal`. `months`: Kick's months so far, Twitch's `duration_months`;
    `cumulative_months`, `streak_months` Twitch only; `started_at`: Kick, when the subscription first began."""

    months: int | None = None
    cumulative_months: int | None = None
    streak_months: int | None = None
    message: str | None = None
    started_at: datetime | None = None
    expires_at: datetime | None = None


class SubscriptionGifts(_Subscription, frozen=True, kw_only=True):
    """`channel.subscription.gifts`. `count` subscriptions given; Kick names the `giftees` and when they expire."""

    count: int
    giftees: tuple[Viewer, ...] = ()
    cumulative_total: int | None = None
    started_at: datetime | None = None
    expires_at: datetime | None = None


class SubscriptionGiftReceived(_Subscription, frozen=True):
    """`channel.subscription.gift_received` (internal, Twitch). The actor received it; counts as active only."""


class SubscriptionEnded(_Subscription, frozen=True):
    """`channel.subscription.ended`. The actor's subscription ran out."""

    is_gift: bool = False


class SubscriptionSnapshot(_Data, frozen=True):
    """`channel.subscription.snapshot` (internal): what a poll saw at its start (`occurred_at`).

    `total` subscribers by the platform's own count; `subscribers` is the whole list when `complete`."""

    total: int | None = None
    gifted: int | None = None
    complete: bool = False
    subscribers: tuple[Viewer, ...] = ()


class KicksGifted(_Data, frozen=True):
    """`kicks.gifted`. `amount` in kicks."""

    amount: int
    gift_name: str | None = None
    gift_type: str | None = None
    gift_tier: str | None = None
    message: str | None = None
    pinned_s: int | None = None


class Cheered(_Data, frozen=True):
    """`channel.cheered`. `amount` in bits."""

    amount: int
    message: str | None = None


class BitsUsed(_Data, frozen=True):
    """`channel.bits.used`: bits spent on power-ups. `use` is the platform's word for it."""

    amount: int
    use: str
    power_up: str | None = None
    message: str | None = None


class RedemptionUpdated(_Data, frozen=True):
    """`channel.reward.redemption.updated`. `cost` in channel points; `status_known` is false when the platform
    said a status that we map to pending for want of better."""

    redemption_id: str
    reward_id: str
    reward_title: str
    cost: int
    status: RedemptionStatus
    status_known: bool = True
    user_input: str | None = None
    reward_description: str | None = None
    redeemed_at: datetime | None = None


class LivestreamStatus(_Data, frozen=True):
    """`livestream.status.updated`. A stream is its `stream_id` (Twitch) or its `started_at` (Kick).

    A Twitch end may name neither: it ends the newest stream that started before it."""

    is_live: bool
    stream_id: str | None = None
    stream_type: str | None = None
    title: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


class LivestreamMetadata(_Data, frozen=True):
    """`livestream.metadata.updated`: a full snapshot; `category_name` None means no category."""

    title: str | None = None
    language: str | None = None
    category_id: str | None = None
    category_name: str | None = None
    is_mature: bool | None = None
    content_labels: tuple[str, ...] = ()


class LivestreamSnapshot(_Data, frozen=True):
    """`livestream.snapshot` (internal): what a poll saw of a channel at its start (`occurred_at`).

    A stream is told apart as in `livestream.status.updated`; what is not live names none. `title`, `category_name`: None
    is not told. `viewer_count`: of a live stream."""

    is_live: bool
    stream_id: str | None = None
    started_at: datetime | None = None
    title: str | None = None
    category_name: str | None = None
    viewer_count: int | None = None


class Banned(_Data, frozen=True):
    """`moderation.banned`. The actor is the moderator; `duration_s` None is permanent."""

    target: Viewer
    reason: str | None = None
    duration_s: int | None = None
    ends_at: datetime | None = None


class Unbanned(_Data, frozen=True):
    """`moderation.unbanned`. The actor is the moderator."""

    target: Viewer


class Raided(_Data, frozen=True):
    """`channel.raided`. The actor is the raiding broadcaster."""

    viewers: int


class PlatformSubscriptionRevoked(_Data, frozen=True):
    """`platform.subscription.revoked` (internal): the platform will send no more of `subscribed_type`."""

    status: str
    subscription_id: str | None = None
    subscribed_type: str | None = None


class StreamInfoRequested(_Data, frozen=True):
    """`stream_info.requested` (internal): a client of the API asked for another title or category (None: as it is).

    What becomes of it is a `stream_info.applied` or `.failed` of the same `command_id`; neither: nobody knows."""

    command_id: str
    client_id: str
    title: str | None = None
    category: str | None = None


class StreamInfoApplied(_Data, frozen=True):
    """`stream_info.applied` (internal): the platform took it. What is shown changes by the platform's own event."""

    command_id: str
    title: str | None = None
    category: str | None = None
    category_id: str | None = None


class StreamInfoFailed(_Data, frozen=True):
    """`stream_info.failed` (internal): `error` is the machine code that the client was answered, `why` the sentence."""

    command_id: str
    error: str
    why: str


KIND_STRUCTS: dict[str, type[Struct]] = {
    "chat.message.sent": ChatMessage,
    "channel.followed": Followed,
    "channel.subscription.new": SubscriptionNew,
    "channel.subscription.renewal": SubscriptionRenewal,
    "channel.subscription.gifts": SubscriptionGifts,
    "channel.subscription.gift_received": SubscriptionGiftReceived,
    "channel.subscription.ended": SubscriptionEnded,
    "channel.subscription.snapshot": SubscriptionSnapshot,
    "kicks.gifted": KicksGifted,
    "channel.cheered": Cheered,
    "channel.bits.used": BitsUsed,
    "channel.reward.redemption.updated": RedemptionUpdated,
    "livestream.status.updated": LivestreamStatus,
    "livestream.metadata.updated": LivestreamMetadata,
    "livestream.snapshot": LivestreamSnapshot,
    "moderation.banned": Banned,
    "moderation.unbanned": Unbanned,
    "channel.raided": Raided,
    "platform.subscription.revoked": PlatformSubscriptionRevoked,
    "stream_info.requested": StreamInfoRequested,
    "stream_info.applied": StreamInfoApplied,
    "stream_info.failed": StreamInfoFailed,
    **FIRST_PARTY_STRUCTS,
}

KINDS: tuple[str, ...] = tuple(KIND_STRUCTS)

KindData = (
    ChatMessage
    | Followed
    | SubscriptionNew
    | SubscriptionRenewal
    | SubscriptionGifts
    | SubscriptionGiftReceived
    | SubscriptionEnded
    | SubscriptionSnapshot
    | KicksGifted
    | Cheered
    | BitsUsed
    | RedemptionUpdated
    | LivestreamStatus
    | LivestreamMetadata
    | LivestreamSnapshot
    | Banned
    | Unbanned
    | Raided
    | PlatformSubscriptionRevoked
    | StreamInfoRequested
    | StreamInfoApplied
    | StreamInfoFailed
    | FirstParty
)


_KIND_OF = {struct: kind for kind, struct in KIND_STRUCTS.items()}


def kind_of(data: KindData) -> str:
    """The canonical type of an event with this data."""
    return _KIND_OF[type(data)]


def is_stored(kind: str) -> bool:
    """Whether events of this kind count in `events.total` and show in the events history."""
    return kind not in UNSTORED_KINDS


OWN_KINDS = frozenset(
    {
        "channel.subscription.snapshot",
        "livestream.snapshot",
        "stream_info.requested",
        "stream_info.applied",
        "stream_info.failed",
    }
)
"""What StreamKit saw or did by itself: no platform delivered it."""

UNSTORED_KINDS = OWN_KINDS | {"channel.subscription.gift_received", "platform.subscription.revoked"}
