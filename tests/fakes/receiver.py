"""A webhook address for the fake platforms to deliver to, which keeps what came."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

from streamkit.lifecycle import serve


class Delivered(Struct, frozen=True):
    """One request, byte for byte."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The body's JSON."""
        return msgspec.json.decode(self.body)


class Receiver:
    """`status` is what it answers with; a verification's challenge is echoed unless `echoes` is False."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 204
        self.echoes = True
        self.delivered: list[Delivered] = []

    async def handle(self, request: web.Request) -> web.Response:
        """Keep and answer."""
        delivered = Delivered(request.path, dict(request.headers), await request.read())
        self.delivered.append(delivered)
        is_challenge = request.headers.get("Twitch-Eventsub-Message-Type") == "webhook_callback_verification"
        if is_challenge and self.echoes:
            return web.Response(text=delivered.document["challenge"])
        return web.Response(status=self.status)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver on a free loopback port; every path is taken."""
    receiver, app = Receiver(), web.Application()
    app.router.add_post("/{path:.*}", receiver.handle)
    server = await serve(app, "127.0.0.1", 0, grace_s=0.2)
    receiver.url = server.url
    try:
        yield receiver
    finally:
        await server.close()
