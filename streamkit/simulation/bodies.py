"""Bodies as the platforms spell them. Kick: https://docs.kick.com/events/event-types, Twitch:
https://dev.twitch.tv/docs/eventsub/eventsub-subscription-types. Made from shapes, not recorded: no real person's data.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct


class Person(Struct, frozen=True):
    """Someone on a platform; `id` is the platform's own, `name` as shown."""

    id: str
    name: str


Json = dict[str, Any]


def encode(body: Json) -> bytes:
    """The bytes that are signed and sent."""
    return msgspec.json.encode(body)


def rfc3339(at: datetime) -> str:
    """UTC with microseconds and a `Z`."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def rfc3339_seconds(at: datetime) -> str:
    """UTC to the second, as Kick writes stream times."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def kick_user(person: Person, **more: Any) -> Json:
    """A Kick user with all its fields."""
    return {
        "is_anonymous": False,
        "user_id": int(person.id),
        "username": person.name,
        "is_verified": False,
        "profile_picture": "",
        "channel_slug": person.name.replace("_", "-"),
        "identity": None,
        **more,
    }


KICK_ANONYMOUS: Json = {
    "is_anonymous": True,
    "user_id": None,
    "username": None,
    "is_verified": None,
    "profile_picture": None,
    "channel_slug": None,
    "identity": None,
}


def kick_compact(person: Person) -> Json:
    """A Kick user as in `kicks.gifted` and redemptions."""
    user = kick_user(person)
    del user["is_anonymous"], user["identity"]
    return user


def kick_chat(streamer: Person, sender: Person, message_id: str, text: str, at: datetime) -> Json:
    """`chat.message.sent`."""
    identity = {"username_color": "#FF5733", "badges": [{"text": "Subscriber", "type": "subscriber", "count": 3}]}
    return {
        "message_id": message_id,
        "replies_to": None,
        "broadcaster": kick_user(streamer),
        "sender": kick_user(sender, identity=identity),
        "content": text,
        "emotes": None,
        "created_at": rfc3339(at),
    }


def kick_follow(streamer: Person, follower: Person) -> Json:
    """`channel.followed`."""
    return {"broadcaster": kick_user(streamer), "follower": kick_user(follower)}


def kick_subscription(streamer: Person, subscriber: Person, months: int, created: datetime, expires: datetime) -> Json:
    """Body of both `channel.subscription.new` and `.renewal`."""
    return {
        "broadcaster": kick_user(streamer),
        "subscriber": kick_user(subscriber),
        "duration": months,
        "created_at": rfc3339(created),
        "expires_at": rfc3339(expires),
    }


def kick_gifts(
    streamer: Person, gifter: Person | None, giftees: list[Person], created: datetime, expires: datetime
) -> Json:
    """`channel.subscription.gifts`; `gifter` None is anonymous."""
    return {
        "broadcaster": kick_user(streamer),
        "gifter": KICK_ANONYMOUS if gifter is None else kick_user(gifter),
        "giftees": [kick_user(giftee) for giftee in giftees],
        "created_at": rfc3339(created),
        "expires_at": rfc3339(expires),
    }


def kick_kicks(streamer: Person, sender: Person, amount: int, name: str, message: str, at: datetime) -> Json:
    """`kicks.gifted`."""
    return {
        "broadcaster": kick_compact(streamer),
        "sender": kick_compact(sender),
        "gift": {
            "amount": amount,
            "name": name,
            "type": "LEVEL_UP" if amount >= 500 else "BASIC",
            "tier": "MID" if amount >= 500 else "BASIC",
            "message": message,
            "pinned_time_seconds": 600 if amount >= 500 else 0,
        },
        "created_at": rfc3339(at),
    }


def kick_redemption(streamer: Person, redeemer: Person, redemption_id: str, status: str, at: datetime) -> Json:
    """`channel.reward.redemption.updated`; `at` is when it was redeemed, whatever its status."""
    return {
        "id": redemption_id,
        "user_input": "hydrate!",
        "status": status,
        "redeemed_at": rfc3339(at),
        "reward": {"id": "01SANDBOXREWARD0000000000A", "title": "Hydrate", "cost": 500, "description": "Drink"},
        "redeemer": kick_compact(redeemer),
        "broadcaster": kick_compact(streamer),
    }


def kick_status(streamer: Person, title: str, started: datetime, ended: datetime | None) -> Json:
    """`livestream.status.updated`: started, or with `ended` over."""
    return {
        "broadcaster": kick_user(streamer),
        "is_live": ended is None,
        "title": title,
        "started_at": rfc3339_seconds(started),
        "ended_at": None if ended is None else rfc3339_seconds(ended),
    }


def kick_metadata(streamer: Person, title: str, category: str, category_id: int = 15) -> Json:
    """`livestream.metadata.updated`."""
    shown = {"id": category_id, "name": category, "thumbnail": ""}
    return {
        "broadcaster": kick_user(streamer),
        "metadata": {
            "title": title,
            "language": "en",
            "has_mature_content": False,
            "category": shown,
            "Category": shown,  # live bodies carry it twice
        },
    }


def kick_ban(streamer: Person, moderator: Person, banned: Person, at: datetime, until: datetime | None) -> Json:
    """`moderation.banned`; `until` None is for good."""
    return {
        "broadcaster": kick_user(streamer),
        "moderator": kick_user(moderator),
        "banned_user": kick_user(banned),
        "metadata": {
            "reason": "spam",
            "created_at": rfc3339(at),
            "expires_at": None if until is None else rfc3339(until),
        },
    }


def twitch_person(prefix: str, person: Person | None) -> Json:
    """The triplet `<prefix>user_id`, `_login`, `_name`; all null for nobody."""
    return {
        f"{prefix}user_id": None if person is None else person.id,
        f"{prefix}user_login": None if person is None else person.name.lower(),
        f"{prefix}user_name": None if person is None else person.name,
    }


def twitch_body(
    kind: str,
    version: str,
    streamer: Person,
    event: Json | None,
    *,
    condition: Json | None = None,
    status: str = "enabled",
) -> Json:
    """`subscription` and, unless it is None, `event`."""
    subscription = {
        "id": "f1c2a387-161a-49f9-a165-0f21d7a4e1c4",
        "type": kind,
        "version": version,
        "status": status,
        "cost": 0,
        "condition": condition or {"broadcaster_user_id": streamer.id},
        "transport": {"method": "webhook", "callback": "https://sandbox.example/webhooks/twitch"},
        "created_at": "2026-01-01T00:00:00Z",
    }
    return {"subscription": subscription} if event is None else {"subscription": subscription, "event": event}


def twitch_event(streamer: Person, viewer: Person | None, **more: Any) -> Json:
    """The viewer's and the broadcaster's triplets, and what the type adds."""
    return {**twitch_person("", viewer), **twitch_person("broadcaster_", streamer), **more}


def twitch_chat(streamer: Person, chatter: Person, message_id: str, text: str, source: Person | None = None) -> Json:
    """`source`: the broadcaster in whose chat a shared message was written."""
    return {
        **twitch_person("broadcaster_", streamer),
        **twitch_person("chatter_", chatter),
        "message_id": message_id,
        "message": {"text": text, "fragments": [{"type": "text", "text": text, "cheermote": None, "emote": None}]},
        "color": "#00FF7F",
        "badges": [{"set_id": "subscriber", "id": "12", "info": "16"}],
        "message_type": "text",
        "cheer": None,
        "reply": None,
        "channel_points_custom_reward_id": None,
        **twitch_person("source_broadcaster_", source),
        "source_message_id": None,
    }
