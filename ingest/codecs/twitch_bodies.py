"""The messages that Twitch EventSub sends, as it spells them.

https://dev.twitch.tv/docs/eventsub/eventsub-reference. A key without default is required; keys that we do not read
are not checked. Users are triplets `*_user_id`, `*_user_login`, `*_user_name`, all null when anonymous.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from ingest.codecs.values import Amount, Count, Id, Months, Price


class Condition(Struct, gc=False):
    """What was subscribed to; Twitch leaves the unused side of a raid condition out or empty."""

    broadcaster_user_id: Id | None = None
    to_broadcaster_user_id: Id | None = None
    from_broadcaster_user_id: Id | None = None
    user_id: Id | None = None


class Subscription(Struct, gc=False):
    """The subscription this message belongs to; its `type` and `version` are signed, the headers' are not."""

    type: str
    version: str
    id: str | None = None
    status: str | None = None
    condition: Condition | None = None


class Message(Struct, gc=False):
    """The body of every message: `challenge` in a verification, `event` in a notification, neither in a revocation."""

    subscription: Subscription
    event: Raw = msgspec.field(default_factory=lambda: Raw(b"null"))
    challenge: str | UnsetType | None = UNSET


class _OfBroadcaster(Struct, gc=False):
    broadcaster_user_id: Id


class OfUser(_OfBroadcaster, gc=False):
    """The user that a message is about."""

    user_id: Id | None
    user_login: str | None = None
    user_name: str | None = None


class FragmentEmote(Struct, gc=False):
    """An emote in a chat message."""

    id: str


class Fragment(Struct, gc=False):
    """A run of a chat message's text; an emote is a fragment of its own."""

    text: str = ""
    emote: FragmentEmote | None = None


class ChatText(Struct, gc=False):
    """A chat message's text, whole and in fragments."""

    text: str
    fragments: list[Fragment] | None = None


class Badge(Struct, gc=False):
    """`info`: a subscriber's months; else `id` is the level."""

    set_id: str
    id: str | None = None
    info: str | None = None


class Reply(Struct, gc=False):
    """The message answered to."""

    parent_message_id: str | None = None


class Chat(_OfBroadcaster, gc=False):
    """`channel.chat.message`."""

    chatter_user_id: Id | None
    message_id: str
    message: ChatText
    chatter_user_login: str | None = None
    chatter_user_name: str | None = None
    color: str | None = None
    badges: list[Badge] | None = None
    reply: Reply | None = None
    source_broadcaster_user_id: Id | None = None


class Follow(OfUser, kw_only=True, gc=False):
    """`channel.follow` version 2."""

    followed_at: str


class Subscribe(OfUser, kw_only=True, gc=False):
    """`channel.subscribe`, and `channel.subscription.end`."""

    tier: str
    is_gift: bool = False


class SubscriptionGift(OfUser, kw_only=True, gc=False):
    """`channel.subscription.gift`: one for all `total` subscriptions given at once."""

    total: Count
    tier: str
    cumulative_total: Count | None = None
    is_anonymous: bool | None = None


class Text(Struct, gc=False):
    """A message's text."""

    text: str | None = None


class SubscriptionMessage(OfUser, kw_only=True, gc=False):
    """`channel.subscription.message`: a viewer shares that they renewed."""

    tier: str
    cumulative_months: Months | None
    message: Text | None = None
    streak_months: Months | None = None
    duration_months: Months | None = None


class Cheer(OfUser, kw_only=True, gc=False):
    """`channel.cheer`."""

    bits: Amount
    message: str | None = None
    is_anonymous: bool | None = None


class PowerUp(Struct, gc=False):
    """Which power-up; a custom one has a title."""

    type: str | None = None
    title: str | None = None


class BitsUse(OfUser, kw_only=True, gc=False):
    """`channel.bits.use`."""

    bits: Amount
    type: str
    power_up: PowerUp | None = None
    custom_power_up: PowerUp | None = None
    message: Text | None = None


class StreamOnline(_OfBroadcaster, kw_only=True, gc=False):
    """`stream.online`."""

    id: Id
    started_at: str
    type: str | None = None


class StreamOffline(_OfBroadcaster, kw_only=True, gc=False):
    """`stream.offline`; `id` exists since June 2026."""

    id: Id | None = None


class ChannelUpdate(_OfBroadcaster, kw_only=True, gc=False):
    """`channel.update` version 2: a full snapshot."""

    title: str | None
    language: str | None = None
    category_id: str | None = None
    category_name: str | None = None
    content_classification_labels: list[str] | None = None


class Reward(Struct, gc=False):
    """A channel-point reward; `cost` in points."""

    id: str
    title: str
    cost: Price
    prompt: str | None = None


class Redemption(OfUser, kw_only=True, gc=False):
    """`channel.channel_points_custom_reward_redemption.add` and `.update`."""

    id: str
    status: str
    reward: Reward
    redeemed_at: str
    user_input: str | None = None


class Unban(OfUser, kw_only=True, gc=False):
    """`channel.unban`."""

    moderator_user_id: Id | None
    moderator_user_login: str | None = None
    moderator_user_name: str | None = None


class Ban(Unban, kw_only=True, gc=False):
    """`channel.ban`; `ends_at` null is permanent."""

    banned_at: str
    ends_at: str | None = None
    is_permanent: bool | None = None
    reason: str | None = None


class Raid(Struct, gc=False):
    """`channel.raid`: no `broadcaster_user_id`; whose it is stands in the condition."""

    from_broadcaster_user_id: Id
    to_broadcaster_user_id: Id
    viewers: Count
    from_broadcaster_user_login: str | None = None
    from_broadcaster_user_name: str | None = None


class AuthorizationRevoke(Struct, gc=False):
    """`user.authorization.revoke`: the user took back what they had granted to this deployment's app."""

    user_id: Id
