"""Misbehaviour that a test scripts for a fake platform: what happens to its next request.

    platforms.kick_faults.next("PATCH", "/public/v1/channels", Answer(429, retry_after_s=7))
    platforms.twitch_faults.next("POST", "/oauth2/token", Hang())                 # nothing was done, nothing is answered
    platforms.twitch_faults.next("PATCH", "/helix/channels", Hang(after=True))    # done, and no answer comes
    platforms.kick_faults.next("GET", "/public", Drop(), times=3)                 # the connection breaks
    platforms.kick_faults.seen                                                    # every request, (method, path)

A path is met by its beginning. Faults of one request are used in the order they were scripted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from aiohttp import web
from msgspec import Struct


class Answer(Struct, frozen=True):
    """This instead of doing anything. `document` None: the platform's usual words for the status."""

    status: int
    document: Any = None
    retry_after_s: int | None = None


class Hang(Struct, frozen=True):
    """No answer, until the fake stops. With `after`, the request is carried out before."""

    after: bool = False


class Drop(Struct, frozen=True):
    """The connection breaks without an answer. With `after`, the request is carried out before."""

    after: bool = False


Fault = Answer | Hang | Drop

_KICK_WORDS = {400: "Bad request", 401: "Unauthorized", 403: "Forbidden", 429: "Too Many Requests"}
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def kick_words(status: int, path: str) -> Any:
    """How Kick words a failure."""
    if path.startswith("/oauth"):
        return {"error": "server_error" if status >= 500 else "invalid_request", "error_description": "scripted"}
    return {"data": {}, "message": _KICK_WORDS.get(status, "Internal server error")}


def twitch_words(status: int, _path: str) -> Any:
    """How Twitch words a failure."""
    message = "Invalid OAuth token" if status == 401 else "scripted"
    return {"error": HTTPStatus(status).phrase, "status": status, "message": message}


class Faults:
    """Of one platform; `words(status, path)` makes the document of an `Answer` that has none."""

    def __init__(self, words: Callable[[int, str], Any]) -> None:
        self.seen: list[tuple[str, str]] = []
        self._words = words
        self._next: list[tuple[str, str, Fault]] = []
        self._stopped = asyncio.Event()

    def next(self, method: str, path: str, fault: Fault, *, times: int = 1) -> None:
        """The next `times` requests of `method` whose path begins with `path` meet `fault`."""
        self._next += [(method, path, fault)] * times

    @property
    def left(self) -> int:
        """How many scripted faults no request has met yet."""
        return len(self._next)

    def count(self, method: str, path: str) -> int:
        """How many requests of `method` there were whose path begins with `path`."""
        return sum(seen == method and at.startswith(path) for seen, at in self.seen)

    def stop(self) -> None:
        """Let what hangs go."""
        self._stopped.set()

    async def handle(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """What aiohttp calls: one request."""
        self.seen.append((request.method, request.path))
        fault = self._take(request)
        if fault is None:
            return await handler(request)
        if isinstance(fault, Answer):
            if fault.status == 204:  # taken, and nothing done: platforms have been seen to do that
                return web.Response(status=204)
            headers = {} if fault.retry_after_s is None else {"Retry-After": str(fault.retry_after_s)}
            document = self._words(fault.status, request.path) if fault.document is None else fault.document
            return web.json_response(document, status=fault.status, headers=headers)
        if fault.after:
            await handler(request)
        if isinstance(fault, Hang):
            await self._stopped.wait()
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)

    def _take(self, request: web.Request) -> Fault | None:
        for place, (method, path, fault) in enumerate(self._next):
            if method == request.method and request.path.startswith(path):
                del self._next[place]
                return fault
        return None


def application(faults: Faults) -> web.Application:
    """An application whose every request passes `faults` first."""

    @web.middleware
    async def misbehave(request: web.Request, handler: _Handler) -> web.StreamResponse:
        return await faults.handle(request, handler)

    return web.Application(middlewares=[misbehave])
