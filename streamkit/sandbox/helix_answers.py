"""Helix's failures, its pages, its rate limit, and how it shows users, channels and streams."""

from __future__ import annotations

import base64
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web

from streamkit.sandbox.cast import Category, Channel, Live, Subscriber
from streamkit.sandbox.grants import Clock
from streamkit.simulation.bodies import rfc3339_seconds


class Refused(Exception):
    """A failure: `more` are further keys of its answer."""

    def __init__(self, status: int, message: str, **more: Any) -> None:
        super().__init__(message)
        reason = HTTPStatus(status).phrase
        self.document = {**more, "error": reason, "status": status, "message": message}
        self.status = status

    @property
    def answer(self) -> web.Response:
        """As it goes out."""
        return web.json_response(self.document, status=self.status)


class RateLimit:
    """A bucket of points for each client and user, refilled evenly: https://dev.twitch.tv/docs/api/guide/#twitch-rate-limits."""

    def __init__(self, now: Clock) -> None:
        self.points_per_minute = 800
        self._now = now
        self._spent: dict[str | None, tuple[float, float]] = {}

    def take(self, user_id: str | None) -> tuple[bool, dict[str, str]]:
        """Whether a point was left for this request, and the headers of its answer."""
        now, most = self._now().timestamp(), self.points_per_minute
        spent, at = self._spent.get(user_id, (0.0, now))
        spent = max(0.0, spent - (now - at) * most / 60)
        is_left = spent + 1 <= most
        spent += is_left
        self._spent[user_id] = (spent, now)
        full_at = self._now() + timedelta(seconds=spent * 60 / most)
        headers = {
            "Ratelimit-Limit": str(most),
            "Ratelimit-Remaining": str(max(0, int(most - spent))),
            "Ratelimit-Reset": str(int(full_at.timestamp()) + 1),
        }
        return is_left, headers


def user(channel: Channel) -> dict[str, Any]:
    """The item of `GET /users`."""
    return {
        "id": channel.person.id,
        "login": channel.login,
        "display_name": channel.person.name,
        "type": "",
        "broadcaster_type": "affiliate",
        "description": "",
        "profile_image_url": "",
        "offline_image_url": "",
        "view_count": 0,
        "created_at": "2020-01-01T00:00:00Z",
    }


def stream(channel: Channel, live: Live) -> dict[str, Any]:
    """The item of `GET /streams`."""
    return {
        "id": live.id,
        "user_id": channel.person.id,
        "user_login": channel.login,
        "user_name": channel.person.name,
        "game_id": _id(channel.category),
        "game_name": _name(channel.category),
        "type": "live",
        "title": channel.title,
        "tags": ["English"],
        "viewer_count": channel.viewers,
        "started_at": rfc3339_seconds(live.started_at),
        "language": "en",
        "thumbnail_url": "https://files.example.invalid/live-{width}x{height}.jpg",
        "tag_ids": [],
        "is_mature": False,
    }


def channel(channel: Channel) -> dict[str, Any]:
    """The item of `GET /channels`."""
    return {
        "broadcaster_id": channel.person.id,
        "broadcaster_login": channel.login,
        "broadcaster_name": channel.person.name,
        "broadcaster_language": "en",
        "game_id": _id(channel.category),
        "game_name": _name(channel.category),
        "title": channel.title,
        "delay": 0,
        "tags": ["English"],
        "content_classification_labels": [],
        "is_branded_content": False,
    }


def category(category: Category) -> dict[str, Any]:
    """The item of `GET /search/categories`."""
    return {
        "id": str(category.id),
        "name": category.name,
        "box_art_url": f"https://files.example.invalid/{category.id}-{{width}}x{{height}}.jpg",
    }


def subscription(channel: Channel, subscriber: Subscriber) -> dict[str, Any]:
    """The item of `GET /subscriptions`; what is no gift has no gifter: empty strings."""
    gifter = subscriber.gifter
    return {
        "broadcaster_id": channel.person.id,
        "broadcaster_login": channel.login,
        "broadcaster_name": channel.person.name,
        "gifter_id": gifter.id if gifter else "",
        "gifter_login": gifter.name.lower() if gifter else "",
        "gifter_name": gifter.name if gifter else "",
        "is_gift": gifter is not None,
        "tier": subscriber.tier,
        "plan_name": f"Channel Subscription ({channel.login})",
        "user_id": subscriber.person.id,
        "user_name": subscriber.person.name,
        "user_login": subscriber.person.name.lower(),
    }


def page(items: list[Any], request: web.Request) -> tuple[list[Any], dict[str, str]]:
    """The part of `items` that `first` and `after` ask for, and `pagination`. Raises Refused."""
    first = request.query.get("first", "20")
    if not first.isascii() or not first.isdecimal() or not 1 <= int(first) <= 100:
        raise Refused(400, 'The parameter "first" was malformed: the value must be between 1 and 100')
    after = request.query.get("after")
    start = 0
    if after:
        try:
            start = msgspec.json.decode(base64.b64decode(after), type=dict[str, int])["o"]
        except (ValueError, KeyError, msgspec.DecodeError):
            raise Refused(400, "Invalid pagination cursor") from None
    end = start + int(first)
    cursor = base64.b64encode(msgspec.json.encode({"o": end})).decode()
    return items[start:end], {"cursor": cursor} if len(items) > end else {}


def _id(category: Category | None) -> str:
    return str(category.id) if category else ""


def _name(category: Category | None) -> str:
    return category.name if category else ""
