"""Kick's envelope, and how it shows channels and categories."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

from streamkit.sandbox.cast import Category, Channel
from streamkit.simulation.bodies import rfc3339_seconds

NEVER = "0001-01-01T00:00:00Z"


def ok(data: Any, **more: Any) -> web.Response:
    """A success."""
    return web.json_response({"data": data, "message": "OK", **more})


class Refused(Exception):
    """A failure, with the status and the words of its answer."""

    def __init__(self, status: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.answer = refused(status, message, data)


def refused(status: int, message: str, data: Any = None) -> web.Response:
    """The answer of a failure: `data` is an empty object also where a success has a list."""
    return web.json_response({"data": {} if data is None else data, "message": message}, status=status)


def category(chosen: Category | None) -> dict[str, Any]:
    """None chosen shows as id 0."""
    if chosen is None:
        return {"id": 0, "name": "", "thumbnail": ""}
    return {"id": chosen.id, "name": chosen.name, "thumbnail": f"https://files.example.invalid/{chosen.id}.webp"}


class Told(Struct, frozen=True):
    """Title and category as the API tells them, which may be older than what was set a moment ago."""

    title: str
    category: Category | None


def channel(channel: Channel, told: Told) -> dict[str, Any]:
    """The item of `GET /channels`."""
    gifted = sum(subscriber.gifter is not None for subscriber in channel.subscribers)
    live = channel.live
    return {
        "active_gifted_subscribers_count": gifted,
        "active_subscribers_count": len(channel.subscribers),
        "banner_picture": "",
        "broadcaster_user_id": int(channel.person.id),
        "canceled_subscribers_count": channel.canceled_subscribers,
        "category": category(told.category),
        "channel_description": "",
        "slug": channel.slug,
        "stream": {
            "is_live": live is not None,
            "is_mature": False,
            "key": "",
            "language": "en" if live else "",
            "start_time": rfc3339_seconds(live.started_at) if live else NEVER,
            "thumbnail": "",
            "url": "",
            "viewer_count": channel.viewers if live else 0,
        },
        "stream_title": told.title,
    }


def cursor_of(offset: int) -> str:
    """Opaque to callers, 4 to 28 characters."""
    return base64.b64encode(msgspec.json.encode({"c": offset})).decode()


def offset_of(cursor: str) -> int:
    """Raises Refused when it is no cursor."""
    try:
        return int(msgspec.json.decode(base64.b64decode(cursor), type=dict[str, int])["c"])
    except (ValueError, KeyError, msgspec.DecodeError) as exc:
        raise Refused(400, "Invalid request") from exc
