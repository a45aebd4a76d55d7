"""The bodies that Kick sends, as it spells them: https://docs.kick.com/events/event-types.

A key without default is required: it is what tells one type's body from another's, for the type header is not signed.
Keys that we do not read are not checked. Every user may be null or have null in every field.

No body can hold a cycle: `gc=False` spares the collector some twenty objects a delivery.
"""

from __future__ import annotations

from msgspec import Struct, field

from ingest.codecs.values import Amount, Count, Id, Months, Price


class Badge(Struct, gc=False):
    """`count`: months or gifts, where the badge has any."""

    type: str = ""
    count: int | None = None


class Identity(Struct, gc=False):
    """How a chat sender looks; only chat senders have it."""

    username_color: str | None = None
    badges: list[Badge] | None = None


class User(Struct, gc=False):
    """Full and compact users alike; early deliveries lack `identity`."""

    user_id: Id | None = None
    username: str | None = None
    is_anonymous: bool | None = None
    channel_slug: str | None = None
    identity: Identity | None = None


class Broadcaster(Struct, gc=False):
    """Whose channel it is: the id is never null."""

    user_id: Id


class EmotePosition(Struct, gc=False):
    """Inclusive character offsets into the content."""

    s: Count
    e: Count


class Emote(Struct, gc=False):
    """One emote and everywhere it stands."""

    emote_id: Id
    positions: list[EmotePosition] | None = None


class RepliesTo(Struct, gc=False):
    """The message answered to."""

    message_id: str | None = None


class Chat(Struct, gc=False):
    """`chat.message.sent`. `created_at` exists since July 2025."""

    broadcaster: Broadcaster
    message_id: str
    sender: User | None
    content: str
    created_at: str | None = None
    replies_to: RepliesTo | None = None
    emotes: list[Emote] | None = None


class Followed(Struct, gc=False):
    """`channel.followed`."""

    broadcaster: Broadcaster
    follower: User | None


class Subscription(Struct, gc=False):
    """`channel.subscription.new` and `.renewal`: one shape. `duration` in months."""

    broadcaster: Broadcaster
    subscriber: User | None
    duration: Months
    created_at: str | None
    expires_at: str | None


class Gifts(Struct, gc=False):
    """`channel.subscription.gifts`: one subscription for each giftee."""

    broadcaster: Broadcaster
    gifter: User | None
    giftees: list[User]
    created_at: str | None
    expires_at: str | None


class Reward(Struct, gc=False):
    """A channel-point reward; `cost` in points."""

    id: str
    title: str
    cost: Price
    description: str | None = None


class Redemption(Struct, gc=False):
    """`channel.reward.redemption.updated`: its creation and each change of its status."""

    broadcaster: Broadcaster
    redeemer: User | None
    id: str
    status: str
    reward: Reward
    redeemed_at: str | None
    user_input: str | None = None


class Status(Struct, gc=False):
    """`livestream.status.updated`: start and end in one type."""

    broadcaster: Broadcaster
    is_live: bool
    started_at: str | None
    ended_at: str | None = None
    title: str | None = None


class Category(Struct, gc=False):
    """A category; id 0 or null is none."""

    id: Id | None = None
    name: str | None = None


class MetadataSnapshot(Struct, gc=False):
    """Live bodies carry the category twice, as `category` and as `Category`."""

    title: str | None
    language: str | None = None
    has_mature_content: bool | None = None
    category: Category | None = None
    category_again: Category | None = field(default=None, name="Category")


class Metadata(Struct, gc=False):
    """`livestream.metadata.updated`: always a full snapshot."""

    broadcaster: Broadcaster
    metadata: MetadataSnapshot


class BanMetadata(Struct, gc=False):
    """`expires_at` null is a permanent ban, a time a timeout."""

    created_at: str | None
    expires_at: str | None = None
    reason: str | None = None


class Banned(Struct, gc=False):
    """`moderation.banned`."""

    broadcaster: Broadcaster
    moderator: User | None
    banned_user: User
    metadata: BanMetadata


class Gift(Struct, gc=False):
    """What was gifted; `amount` in kicks."""

    amount: Amount
    name: str | None = None
    type: str | None = None
    tier: str | None = None
    message: str | None = None
    pinned_time_seconds: Count | None = None


class KicksGifted(Struct, gc=False):
    """`kicks.gifted`."""

    broadcaster: Broadcaster
    sender: User | None
    gift: Gift
    created_at: str | None
