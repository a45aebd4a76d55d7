"""Which events StreamKit wants of the platforms, and what is to be done so that they have exactly those subscribed. Pure.

One transport a deployment: two would tell the same fact twice, under two message ids. What may not live here: calls.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final, Literal

from msgspec import Struct

from schemas.control import PlatformName
from streamkit.platforms.scopes import TWITCH_WEBHOOK_SCOPES
from streamkit.settings import Settings

PENDING: Final = "webhook_callback_verification_pending"
PENDING_FOR: Final = timedelta(minutes=10)
"""A verification that takes longer will not come: the subscription is made anew."""

KICK_TYPES: Final = (
    "chat.message.sent",
    "channel.followed",
    "channel.subscription.new",
    "channel.subscription.renewal",
    "channel.subscription.gifts",
    "channel.reward.redemption.updated",
    "livestream.status.updated",
    "livestream.metadata.updated",
    "moderation.banned",
    "kicks.gifted",
)
"""https://docs.kick.com/events/event-types. All are version 1."""


class TwitchType(Struct, frozen=True):
    """`condition`: the keys that take the broadcaster's id. `scope`: what the streamer has to have granted."""

    type: str
    version: str
    condition: tuple[str, ...] = ("broadcaster_user_id",)
    scope: str | None = None


_REWARDS = "channel.channel_points_custom_reward_redemption"

TWITCH_TYPES: Final = (
    TwitchType("stream.online", "1"),
    TwitchType("stream.offline", "1"),
    TwitchType("channel.update", "2"),
    TwitchType("channel.chat.message", "1", ("broadcaster_user_id", "user_id"), "user:read:chat"),
    TwitchType("channel.follow", "2", ("broadcaster_user_id", "moderator_user_id"), "moderator:read:followers"),
    TwitchType("channel.subscribe", "1", scope="channel:read:subscriptions"),
    TwitchType("channel.subscription.message", "1", scope="channel:read:subscriptions"),
    TwitchType("channel.subscription.gift", "1", scope="channel:read:subscriptions"),
    TwitchType("channel.subscription.end", "1", scope="channel:read:subscriptions"),
    TwitchType("channel.cheer", "1", scope="bits:read"),
    TwitchType("channel.bits.use", "1", scope="bits:read"),
    TwitchType(f"{_REWARDS}.add", "1", scope="channel:read:redemptions"),
    TwitchType(f"{_REWARDS}.update", "1", scope="channel:read:redemptions"),
    TwitchType("channel.ban", "1", scope="channel:moderate"),
    TwitchType("channel.unban", "1", scope="channel:moderate"),
    TwitchType("channel.raid", "1", ("to_broadcaster_user_id",)),
)
"""https://dev.twitch.tv/docs/eventsub/eventsub-subscription-types/. What a lost connection costs most comes first."""

_TYPES: Final[dict[PlatformName, frozenset[str]]] = {
    "kick": frozenset(KICK_TYPES),
    "twitch": frozenset(each.type for each in TWITCH_TYPES),
}

Condition = tuple[tuple[str, str], ...]
"""(key, value), in the order of the keys."""


class Wanted(Struct, frozen=True, order=True):
    """One subscription that there should be; Kick's condition is the broadcaster alone."""

    platform: PlatformName
    broadcaster_id: str
    type: str
    version: str
    condition: Condition = ()


class Listed(Struct, frozen=True):
    """One that the platform has. `place`: the callback or the websocket session; Kick names none."""

    wanted: Wanted
    id: str
    status: str
    method: Literal["webhook", "websocket"]
    place: str
    created_at: datetime | None

    def lives(self, place: str, now: datetime) -> bool:
        """Whether it delivers to `place`, or will as soon as it is verified."""
        pending = self.status == PENDING and (self.created_at is None or now - self.created_at < PENDING_FOR)
        return self.place == place and (self.status == "enabled" or pending)


class Plan(Struct, frozen=True):
    """`delete` comes first: what is to be made may not be there twice."""

    delete: tuple[Listed, ...]
    create: tuple[Wanted, ...]
    keep: dict[Wanted, Listed]


def wanted_on_kick(broadcaster_id: str) -> list[Wanted]:
    """Every type: the app's token needs nobody's consent."""
    return [Wanted("kick", broadcaster_id, type_, "1") for type_ in KICK_TYPES]


def wanted_on_twitch(broadcaster_id: str, scopes: Collection[str], *, webhooks: bool) -> list[Wanted]:
    """The types that the streamer has granted the scopes of."""
    return [
        _on_twitch(broadcaster_id, each) for each in TWITCH_TYPES if not missing_scopes(each, scopes, webhooks=webhooks)
    ]


def missing_scopes(each: TwitchType, scopes: Collection[str], *, webhooks: bool) -> list[str]:
    """What the streamer would have to grant for this type, and has not."""
    needed = [each.scope] if each.scope else []
    if webhooks and each.scope == "user:read:chat":
        needed += TWITCH_WEBHOOK_SCOPES
    return [scope for scope in needed if scope not in scopes]


def not_granted(broadcaster_id: str, scopes: Collection[str], *, webhooks: bool) -> dict[Wanted, list[str]]:
    """What cannot be subscribed to before the streamer consents again, with the scopes that are missing."""
    missing = {
        _on_twitch(broadcaster_id, each): missing_scopes(each, scopes, webhooks=webhooks) for each in TWITCH_TYPES
    }
    return {wanted: scopes for wanted, scopes in missing.items() if scopes}


def condition_of(fields: dict[str, str]) -> Condition:
    """A platform's condition; a side of a raid that is left empty is as good as left out."""
    return tuple(sorted((key, value) for key, value in fields.items() if value))


def twitch_callback(settings: Settings) -> str:
    """The address that Twitch is to deliver to."""
    return f"{(settings.public_url or '').rstrip('/')}/webhooks/twitch"


def time_of(text: str | None) -> datetime | None:
    """When a platform says that something was; None when it does not say it as RFC 3339."""
    with suppress(ValueError):
        at = datetime.fromisoformat(text or "")
        return at if at.tzinfo is not None else None
    return None


def plan(wanted: Iterable[Wanted], listed: Sequence[Listed], place: str, now: datetime) -> Plan:
    """What makes the platform have each of `wanted` once, delivered to `place`, and nothing else of the types we know.

    Of those that are there twice the oldest that works stays. Types that StreamKit never subscribes to are left alone;
    so are sessions that ended, which Twitch forgets by itself. What was revoked at `place` is deleted first: Twitch's
    command-line client answers 409 to the new one else.
    """
    keep: dict[Wanted, Listed] = {}
    delete: list[Listed] = []
    asked = set(wanted)
    for one in sorted(listed, key=_oldest_that_works):
        if one.wanted.type not in _TYPES[one.wanted.platform]:
            continue
        if one.wanted in asked and one.wanted not in keep and one.lives(place, now):
            keep[one.wanted] = one
        elif one.method == "webhook" or one.status == "enabled" or one.place == place:
            delete.append(one)
    create = tuple(sorted(each for each in asked if each not in keep))
    return Plan(tuple(delete), _in_our_order(create), keep)


def without_the_ended(to_do: Plan, listed: Iterable[Listed], refused: Collection[Wanted]) -> Plan:
    """What is still to be done where `refused` were too many of a kind: sessions that ended may count among the three
    that Twitch takes, and not be forgotten yet. Nothing, when there are none."""
    gone = {one.id for one in to_do.delete}
    ended = tuple(
        one for one in listed if one.wanted in refused and one.status.startswith("websocket_") and one.id not in gone
    )
    in_the_way = {one.wanted for one in ended}
    return Plan(ended, tuple(each for each in to_do.create if each in in_the_way), {})


def by_webhook(listed: Iterable[Listed]) -> list[Listed]:
    """Those that come by webhook. At Twitch the app's token lists no others; its command-line client lists all."""
    return [one for one in listed if one.method == "webhook"]


def by_websocket(listed: Iterable[Listed], broadcaster_id: str) -> list[Listed]:
    """Those of a broadcaster's websockets. At Twitch their token lists no others; its command-line client lists all."""
    return [one for one in listed if one.method == "websocket" and one.wanted.broadcaster_id == broadcaster_id]


def _oldest_that_works(one: Listed) -> tuple[bool, float, str]:
    return one.status != "enabled", one.created_at.timestamp() if one.created_at else float("inf"), one.id


def _on_twitch(broadcaster_id: str, each: TwitchType) -> Wanted:
    condition = condition_of(dict.fromkeys(each.condition, broadcaster_id))
    return Wanted("twitch", broadcaster_id, each.type, each.version, condition)


def _in_our_order(wanted: Sequence[Wanted]) -> tuple[Wanted, ...]:
    order = [*KICK_TYPES, *(each.type for each in TWITCH_TYPES)]
    return tuple(sorted(wanted, key=lambda each: (each.broadcaster_id, order.index(each.type))))
