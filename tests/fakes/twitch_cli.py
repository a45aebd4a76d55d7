"""What Twitch's own command-line client serves, with its ways: https://dev.twitch.tv/docs/cli/mock-api-command/ and
https://dev.twitch.tv/docs/cli/websocket-event-command/.

A mock API at `/mock` and `/auth`, and on another port EventSub's websockets at `/ws` with its subscriptions at
`/eventsub/subscriptions`. Tokens have an empty refresh token, nobody asks whose token it is that lists subscriptions,
what was revoked stays in the way of a new one, and a revocation is told as a notification.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web
from msgspec import Struct, field

from streamkit.lifecycle import serve
from tests.eventsub import frame, session_frame

CLIENT_ID = "c" * 30
CLIENT_SECRET = "s" * 30
USER = {"id": "86441338", "login": "mock_streamer"}
SCOPES = ("bits:read", "channel:read:subscriptions", "moderator:read:followers", "channel:manage:broadcast")
USER_TOKEN, APP_TOKEN = "a" * 15, "b" * 15

Json = dict[str, Any]


class TwitchCli(Struct, kw_only=True):
    """`subscriptions` by id, as they are listed; `titles` are those that the channel was given."""

    api_url: str = ""
    websocket_url: str = ""
    titles: list[str] = []
    subscriptions: dict[str, Json] = {}
    sockets: dict[str, web.WebSocketResponse] = {}
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def settings(self) -> dict[str, str]:
        """The environment that points StreamKit at it."""
        return {
            "STREAMKIT_TWITCH_API_URL": f"{self.api_url}/mock",
            "STREAMKIT_TWITCH_AUTH_URL": f"{self.api_url}/auth",
            "STREAMKIT_TWITCH_EVENTSUB_URL": f"{self.websocket_url}/eventsub/subscriptions",
            "STREAMKIT_TWITCH_EVENTSUB_WS_URL": f"ws{self.websocket_url.removeprefix('http')}/ws",
            "STREAMKIT_TWITCH_CLIENT_ID": CLIENT_ID,
            "STREAMKIT_TWITCH_CLIENT_SECRET": CLIENT_SECRET,
        }

    def enabled(self, type_: str) -> Json | None:
        """The subscription of this type that delivers, if there is one."""
        alive = (one for one in self.subscriptions.values() if one["type"] == type_ and one["status"] == "enabled")
        return next(alive, None)

    async def trigger(self, type_: str, event: Json | None, status: str = "enabled") -> None:
        """Tell whoever has subscribed to it. Without an event it is a revocation, and the subscription ends."""
        one = self.enabled(type_)
        assert one is not None, f"nobody has subscribed to {type_}"
        payload: Json = {"subscription": {**one, "status": status}}
        if event is None:
            one["status"] = status
        else:
            payload["event"] = event
        about = {"subscription_type": type_, "subscription_version": one["version"]}
        text = frame("notification", payload, message_id=f"m-{next(self._numbers)}", **about)
        await self.sockets[one["transport"]["session_id"]].send_str(text)

    async def end(self, code: int) -> None:
        """Close every websocket."""
        for socket in list(self.sockets.values()):
            await socket.close(code=code)

    def api(self) -> web.Application:
        """`/auth` and `/mock`."""
        app = web.Application()
        app.add_routes(
            [
                web.post("/auth/token", self._token),
                web.get("/auth/validate", self._validate),
                web.get("/mock/users", _as_user(self._users)),
                web.get("/mock/streams", _as_user(self._nothing)),
                web.get("/mock/subscriptions", _as_user(self._nothing)),
                web.patch("/mock/channels", _as_user(self._change)),
            ]
        )
        return app

    def websockets(self) -> web.Application:
        """`/ws` and `/eventsub/subscriptions`."""
        app = web.Application()
        path = "/eventsub/subscriptions"
        app.add_routes([web.get("/ws", self._socket), web.get(path, self._list)])
        app.add_routes([web.post(path, self._create), web.delete(path, self._delete)])
        return app

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        if form.get("grant_type") != "client_credentials" or form.get("client_secret") != CLIENT_SECRET:
            return web.Response(status=400)
        told = {"access_token": APP_TOKEN, "refresh_token": "", "expires_in": 86399, "scope": []}
        return web.json_response({**told, "token_type": "bearer"})

    async def _validate(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"OAuth {USER_TOKEN}":
            return web.Response(status=401)
        about = {"user_id": USER["id"], "login": USER["login"], "expires_in": 86399, "scopes": list(SCOPES)}
        return web.json_response({"client_id": CLIENT_ID, **about})

    async def _users(self, request: web.Request) -> web.Response:
        return web.json_response({"data": [USER]})

    async def _nothing(self, request: web.Request) -> web.Response:
        return web.json_response({"data": []})

    async def _change(self, request: web.Request) -> web.Response:
        self.titles.append((await request.json())["title"])
        return web.Response(status=204)

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        session_id = f"server_{next(self._numbers)}"
        self.sockets[session_id] = socket
        await socket.send_str(session_frame("session_welcome", session_id))
        async for message in socket:
            assert message.type is not aiohttp.WSMsgType.TEXT, "a client may only answer pings"
        del self.sockets[session_id]
        for one in self.subscriptions.values():
            if one["transport"]["session_id"] == session_id:
                one["status"] = "websocket_disconnected"
        return socket

    async def _list(self, request: web.Request) -> web.Response:
        return web.json_response({"data": list(self.subscriptions.values()), "pagination": {}})

    async def _create(self, request: web.Request) -> web.Response:
        body = await request.json()
        session_id = body["transport"]["session_id"]
        if session_id not in self.sockets or body["type"] in ("channel.bits.use", "channel.chat.message"):
            return web.json_response({"status": 400, "message": "not valid"}, status=400)
        if any((one["type"], one["transport"]["session_id"]) == (body["type"], session_id) for one in self._all()):
            return web.json_response({"status": 409, "message": "already exists"}, status=409)
        id_ = str(next(self._numbers))
        self.subscriptions[id_] = {**body, "id": id_, "status": "enabled", "created_at": "2026-11-24T10:00:00Z"}
        return web.json_response({"data": [self.subscriptions[id_]]}, status=202)

    async def _delete(self, request: web.Request) -> web.Response:
        return web.Response(status=204 if self.subscriptions.pop(request.query["id"], None) else 404)

    def _all(self) -> list[Json]:
        return list(self.subscriptions.values())


def _as_user(answer: Any) -> Any:
    async def told(request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if request.headers.get("Client-Id") != CLIENT_ID or token not in (USER_TOKEN, APP_TOKEN):
            return web.Response(status=401)
        response: web.Response = await answer(request)
        return response

    return told


@asynccontextmanager
async def running_twitch_cli() -> AsyncIterator[TwitchCli]:
    """Both servers on free loopback ports, until the block ends."""
    cli = TwitchCli()
    api = await serve(cli.api(), "127.0.0.1", 0, grace_s=0.2)
    websockets = await serve(cli.websockets(), "127.0.0.1", 0, grace_s=0.2)
    cli.api_url, cli.websocket_url = api.url, websockets.url
    try:
        yield cli
    finally:
        await websockets.close()
        await api.close()
