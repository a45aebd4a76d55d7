"""From a platform's HTTP answer to a typed struct or a PlatformRefused: what Kick and Twitch have in common.

What may not live here: addresses, and anything that calls.
"""

from __future__ import annotations

import math
import time
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from schemas.errors import UNREADABLE, PlatformRefused
from streamkit.platforms.http import Answer

T = TypeVar("T")

_MAX_MESSAGE = 300
_MAX_RETRY_AFTER_S = 3600


class Grant(Struct, frozen=True):
    """Tokens as a platform gave them. An app's have no `refresh_token`; `scopes` None: the answer names none."""

    access_token: str
    refresh_token: str | None
    expires_in_s: int
    scopes: tuple[str, ...] | None

    def __repr__(self) -> str:
        """Without the tokens."""
        return f"Grant(expires_in_s={self.expires_in_s}, scopes={self.scopes})"


class Profile(Struct, frozen=True):
    """Whose tokens they are: the platform's user id, and Kick's username or Twitch's login."""

    id: str
    username: str


class GrantRefused(PlatformRefused):
    """The platform takes this refresh token (or code) no more. Any other refusal says nothing about it: the app's
    credentials may be wrong, or too much was asked."""


class _Token(Struct):
    access_token: str
    refresh_token: str | None = None
    expires_in: int = 3600
    scope: str | list[str] | None = None


def grant_of(platform: str, answer: Answer) -> Grant:
    """The tokens of a token endpoint's answer. Raises PlatformRefused for one that has none."""
    token = decoded(platform, answer, _Token)
    refresh_token = token.refresh_token or None  # "" is none: Twitch's command-line client answers so
    if not (_travels(token.access_token) and (refresh_token is None or _travels(refresh_token))):
        raise PlatformRefused(platform, answer.status, "a token that no header can carry")
    words = token.scope.split() if isinstance(token.scope, str) else token.scope
    scopes = None if words is None else tuple(sorted(word for word in words if word))
    return Grant(token.access_token, refresh_token, token.expires_in, scopes)


def _travels(token: str) -> bool:
    return 0 < len(token) <= 8192 and token.isascii() and token.isprintable() and " " not in token


def decoded(platform: str, answer: Answer, type_: type[T]) -> T:
    """The body as `type_`. Raises PlatformRefused when it is none."""
    try:
        return msgspec.json.decode(answer.body, type=type_, strict=False)
    except UNREADABLE:
        raise PlatformRefused(platform, answer.status, "something else than its documentation says") from None


def refusal(platform: str, answer: Answer, kind: type[PlatformRefused] = PlatformRefused) -> PlatformRefused:
    """The error that a 3xx, 4xx or 5xx answer is, with the platform's own words where it gives any."""
    return kind(platform, answer.status, _words(answer), _retry_after_s(answer))


def error_code(answer: Answer) -> str | None:
    """RFC 6749's `error` (`invalid_grant`, …); None when the body has none."""
    code = _fields(answer).get("error")
    return code if isinstance(code, str) else None


def _words(answer: Answer) -> str:
    # Kick: {"data": "event subscription limit reached", "message": "Bad request"}, or OAuth's error and its description.
    fields = _fields(answer)
    for name in ("data", "error_description", "message", "error"):
        words = fields.get(name)
        if isinstance(words, str) and words.strip():
            return "".join(c for c in words if c.isprintable())[:_MAX_MESSAGE]
    return "no reason given"


def _fields(answer: Answer) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(answer.body)
    except UNREADABLE:
        return {}
    return found if isinstance(found, dict) else {}


def _retry_after_s(answer: Answer) -> int | None:
    """From Retry-After (seconds), else, of a 429, Twitch's Ratelimit-Reset (epoch seconds)."""
    text = answer.headers.get("Retry-After") or ""
    if not text and answer.status == 429:
        reset = answer.headers.get("Ratelimit-Reset") or ""
        text = str(math.ceil(int(reset) - time.time())) if reset.isdecimal() and len(reset) < 15 else ""
    return max(1, min(_MAX_RETRY_AFTER_S, int(text))) if text.lstrip("-").isdecimal() and len(text) < 15 else None
