"""EventSub frames as Twitch sends them over a websocket: for tests of the session and of the shell around it."""

from __future__ import annotations

import json
from typing import Any

from tests.samples import TWITCH_BROADCASTER

AT = "2026-11-24T10:00:00.123456789Z"


def frame(type_: str, payload: dict[str, Any], *, message_id: str = "m-1", **metadata: str) -> str:
    """Any frame."""
    about = {"message_id": message_id, "message_type": type_, "message_timestamp": AT, **metadata}
    return json.dumps({"metadata": about, "payload": payload})


def session_frame(type_: str, session_id: str, keepalive_s: int | None = 10, reconnect_url: str | None = None) -> str:
    """`session_welcome` and `session_reconnect`."""
    session = {
        "id": session_id,
        "status": "connected" if reconnect_url is None else "reconnecting",
        "keepalive_timeout_seconds": keepalive_s,
        "reconnect_url": reconnect_url,
        "connected_at": AT,
    }
    return frame(type_, {"session": session})


def welcome(session_id: str = "s-1", keepalive_s: int | None = 10) -> str:
    return session_frame("session_welcome", session_id, keepalive_s)


def moves(url: str, session_id: str = "s-1") -> str:
    return session_frame("session_reconnect", session_id, None, url)


def keepalive() -> str:
    return frame("session_keepalive", {})


def follow(message_id: str = "m-1", follower: str = "42", followed_at: str = AT) -> str:
    """A notification of `channel.follow`."""
    event = {
        "user_id": follower,
        "user_login": "viewer",
        "user_name": "Viewer",
        "broadcaster_user_id": TWITCH_BROADCASTER,
        "broadcaster_user_login": "streamer",
        "broadcaster_user_name": "Streamer",
        "followed_at": followed_at,
    }
    payload = {"subscription": _subscription("channel.follow", "2", "enabled"), "event": event}
    return frame(
        "notification",
        payload,
        message_id=message_id,
        subscription_type="channel.follow",
        subscription_version="2",
    )


def revocation(status: str = "authorization_revoked", message_id: str = "m-9") -> str:
    return frame(
        "revocation",
        {"subscription": _subscription("channel.follow", "2", status)},
        message_id=message_id,
        subscription_type="channel.follow",
        subscription_version="2",
    )


def _subscription(type_: str, version: str, status: str) -> dict[str, Any]:
    return {
        "id": "5d3f9c58-0000-4000-8000-000000000001",
        "status": status,
        "type": type_,
        "version": version,
        "condition": {"broadcaster_user_id": TWITCH_BROADCASTER, "moderator_user_id": TWITCH_BROADCASTER},
        "transport": {"method": "websocket", "session_id": "s-1"},
        "created_at": AT,
        "cost": 0,
    }
