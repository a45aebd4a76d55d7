"""EventSub's subscription types that the fake Twitch knows: https://dev.twitch.tv/docs/eventsub/eventsub-subscription-types."""

from __future__ import annotations

from msgspec import Struct


class EventType(Struct, frozen=True):
    """`condition`: the keys it needs. `scopes`: one of them must have been granted (none: nobody's consent is needed)
    by the person under `granted_by`."""

    condition: tuple[str, ...]
    scopes: tuple[str, ...] = ()
    granted_by: str = "broadcaster_user_id"


_BROADCASTER = ("broadcaster_user_id",)
_REDEMPTIONS = ("channel:read:redemptions", "channel:manage:redemptions")
_REDEMPTION = EventType(_BROADCASTER, _REDEMPTIONS)
_SUBSCRIPTIONS = EventType(_BROADCASTER, ("channel:read:subscriptions",))
_BITS = EventType(_BROADCASTER, ("bits:read",))
_CHAT = EventType(("broadcaster_user_id", "user_id"), ("user:read:chat",), "user_id")
_MODERATE = EventType(_BROADCASTER, ("channel:moderate",))
_HYPE_TRAIN = EventType(_BROADCASTER, ("channel:read:hype_train",))

RAID = EventType(())
"""Its condition is one of `to_broadcaster_user_id` and `from_broadcaster_user_id`."""

EVENT_TYPES: dict[tuple[str, str], EventType] = {
    ("channel.chat.message", "1"): _CHAT,
    ("channel.chat.notification", "1"): _CHAT,
    ("channel.follow", "2"): EventType(
        ("broadcaster_user_id", "moderator_user_id"), ("moderator:read:followers",), "moderator_user_id"
    ),
    ("channel.subscribe", "1"): _SUBSCRIPTIONS,
    ("channel.subscription.end", "1"): _SUBSCRIPTIONS,
    ("channel.subscription.gift", "1"): _SUBSCRIPTIONS,
    ("channel.subscription.message", "1"): _SUBSCRIPTIONS,
    ("channel.cheer", "1"): _BITS,
    ("channel.bits.use", "1"): _BITS,
    ("stream.online", "1"): EventType(_BROADCASTER),
    ("stream.offline", "1"): EventType(_BROADCASTER),
    ("channel.update", "2"): EventType(_BROADCASTER),
    ("channel.channel_points_custom_reward_redemption.add", "1"): _REDEMPTION,
    ("channel.channel_points_custom_reward_redemption.update", "1"): _REDEMPTION,
    ("channel.channel_points_automatic_reward_redemption.add", "1"): _REDEMPTION,
    ("channel.channel_points_automatic_reward_redemption.add", "2"): _REDEMPTION,
    ("channel.raid", "1"): RAID,
    ("channel.ban", "1"): _MODERATE,
    ("channel.unban", "1"): _MODERATE,
    ("channel.hype_train.begin", "2"): _HYPE_TRAIN,
    ("channel.hype_train.progress", "2"): _HYPE_TRAIN,
    ("channel.hype_train.end", "2"): _HYPE_TRAIN,
    ("user.authorization.grant", "1"): EventType(("client_id",)),
    ("user.authorization.revoke", "1"): EventType(("client_id",)),
}
GONE = {("channel.follow", "1")}

SUBJECTS = ("broadcaster_user_id", "to_broadcaster_user_id", "from_broadcaster_user_id", "client_id")
"""The keys of a condition that say whom an event is about; the others say who reads it."""
