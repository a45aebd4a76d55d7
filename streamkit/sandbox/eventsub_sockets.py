"""EventSub's websocket server, eventsub.wss.twitch.tv: https://dev.twitch.tv/docs/eventsub/handling-websocket-events/.

A session outlives a reconnect: it then has a new link (a connection) while the old one stays open until the client
closes it. What subscriptions there are is not known here.
"""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web
from msgspec import Struct

from streamkit.sandbox.grants import Clock
from streamkit.simulation.bodies import Json, rfc3339

CLOSED_WITH = {
    4000: "websocket_internal_error",
    4001: "websocket_received_inbound_traffic",
    4002: "websocket_failed_ping_pong",
    4003: "websocket_connection_unused",
    4004: "websocket_failed_to_reconnect",
    4005: "websocket_network_timeout",
    4006: "websocket_network_error",
}
"""Close codes, and what becomes of the session's subscriptions."""
INVALID_RECONNECT = 4007


class SocketRules(Struct, kw_only=True):
    """The times Twitch keeps, in seconds; a test shortens them. `keepalive_s` None: as the client asks, else 10.

    `repeats_in_overlap`: while two links of a session are open, both get each notification.
    """

    unused_s: float = 10.0
    reconnect_grace_s: float = 30.0
    keepalive_s: float | None = None
    ping_s: float = 60.0
    pong_s: float = 10.0
    repeats_in_overlap: bool = False


class Session(Struct, kw_only=True, eq=False):
    """`user_id` is whose subscriptions it carries, once it has any; `links` are its open connections, newest last."""

    id: str
    connected_at: datetime
    user_id: str | None = None
    links: list[_Link] = []
    reconnect_id: str | None = None


class _Link:
    """One connection: what is to be sent (text, or a close code), and by when what has to happen."""

    def __init__(self, session: Session, rules: SocketRules, keepalive_s: float, transport: asyncio.Transport) -> None:
        self.session = session
        self.outgoing: asyncio.Queue[str | int] = asyncio.Queue()
        self.transport = transport
        self.rules = rules
        self.keepalive_s = keepalive_s
        now = self.time()
        self.keepalive_at = now + keepalive_s
        self.ping_at = now + rules.ping_s
        self.pong_by: float | None = None
        self.used_by: float | None = None
        self.gone_by: float | None = None

    @staticmethod
    def time() -> float:
        """The loop's clock."""
        return asyncio.get_running_loop().time()

    def next_at(self) -> float:
        """When there is something to do at the latest."""
        limits = (self.pong_by, self.used_by, self.gone_by)
        return min(self.keepalive_at, self.ping_at, *(limit for limit in limits if limit is not None))

    def overdue(self) -> int | None:
        """The code to close with, when a limit has passed."""
        now = self.time()
        limits = ((self.pong_by, 4002), (self.used_by, 4003), (self.gone_by, 4004))
        return next((code for limit, code in limits if limit is not None and limit <= now), None)


class Sockets:
    """All sessions. `on_end(session, status)` is told when one is over, and what its subscriptions are then."""

    def __init__(self, now: Clock) -> None:
        self.rules = SocketRules()
        self.sessions: dict[str, Session] = {}
        self.on_end: Callable[[Session, str], None] = lambda session, status: None
        self._now = now

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """`GET /ws`."""
        asked = request.query.get("keepalive_timeout_seconds", "10")
        if not asked.isascii() or not asked.isdecimal() or not 10 <= int(asked) <= 600:
            return web.Response(status=400, text="keepalive_timeout_seconds must be between 10 and 600")
        socket = web.WebSocketResponse(autoping=False, timeout=1.0)
        await socket.prepare(request)
        session = self._session_for(request)
        if session is None:
            await socket.close(code=INVALID_RECONNECT, message=b"invalid reconnect")
            return socket
        assert request.transport is not None
        link = _Link(session, self.rules, self.rules.keepalive_s or float(asked), request.transport)
        if session.links:
            session.links[-1].gone_by = link.time() + self.rules.reconnect_grace_s
        else:
            link.used_by = link.time() + self.rules.unused_s
        session.links.append(link)
        link.outgoing.put_nowait(self._welcome(link))
        writing = asyncio.create_task(self._write(socket, link))
        try:
            await self._read(socket, link)
        finally:
            writing.cancel()
            await asyncio.wait([writing])
            gone = "websocket_disconnected" if socket.close_code is not None else "websocket_network_error"
            self._leave(link, gone)
        return socket

    def _session_for(self, request: web.Request) -> Session | None:
        if "reconnect_id" not in request.query:
            made = Session(id=f"sandbox_{secrets.token_hex(8)}", connected_at=self._now(), links=[])
            self.sessions[made.id] = made
            return made
        # The address has to come back unaltered, and while the old connection is open.
        query = request.rel_url.raw_query_string
        waiting = (
            one for one in self.sessions.values() if one.reconnect_id and query == f"reconnect_id={one.reconnect_id}"
        )
        session = next(waiting, None)
        if session is not None:
            session.reconnect_id = None
        return session

    async def _read(self, socket: web.WebSocketResponse, link: _Link) -> None:
        while True:
            message = await socket.receive()
            if message.type is WSMsgType.PONG:
                link.pong_by = None
            elif message.type in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PING):
                await self._close(socket, link, 4001)
                return
            else:
                return

    async def _write(self, socket: web.WebSocketResponse, link: _Link) -> None:
        while True:
            try:
                async with asyncio.timeout_at(link.next_at()):
                    item = await link.outgoing.get()
            except TimeoutError:
                code = link.overdue()
                if code is not None:
                    item = code
                elif link.ping_at <= link.time():
                    link.ping_at = link.time() + link.rules.ping_s
                    link.pong_by = link.time() + link.rules.pong_s
                    await socket.ping()
                    continue
                else:
                    item = _frame("session_keepalive", {}, self._now())
            if isinstance(item, int):
                await self._close(socket, link, item)
                return
            link.keepalive_at = link.time() + link.keepalive_s
            await socket.send_str(item)

    async def _close(self, socket: web.WebSocketResponse, link: _Link, code: int) -> None:
        self._leave(link, CLOSED_WITH.get(code, "websocket_disconnected"))
        await socket.close(code=code, message=CLOSED_WITH.get(code, "closed").encode())

    def _leave(self, link: _Link, status: str) -> None:
        """The link carries nothing any more; with the newest one its session is over."""
        session = link.session
        if link not in session.links:
            return
        is_newest = session.links[-1] is link
        session.links.remove(link)
        if is_newest:
            for older in session.links:
                older.outgoing.put_nowait(WSCloseCode.GOING_AWAY)
            del self.sessions[session.id]
            self.on_end(session, status)

    def _welcome(self, link: _Link) -> str:
        told = _session(link.session, "connected", max(1, round(link.keepalive_s)), None)
        return _frame("session_welcome", {"session": told}, self._now())

    def used(self, session: Session) -> None:
        """The session has a subscription now."""
        for link in session.links:
            link.used_by = None

    def send(self, session_id: str, message_type: str, kind: str, version: str, payload: Json) -> None:
        """A notification or a revocation; nothing when the session is over."""
        session = self.sessions.get(session_id)
        if session is None:
            return
        frame = _frame(message_type, payload, self._now(), subscription_type=kind, subscription_version=version)
        for link in session.links if self.rules.repeats_in_overlap else session.links[-1:]:
            link.outgoing.put_nowait(frame)

    def ask_to_reconnect(self, session_id: str, url: str) -> None:
        """`session_reconnect`: within the grace the client has to connect to `url` (of `GET /ws`) with its id."""
        session = self.sessions[session_id]
        session.reconnect_id = secrets.token_urlsafe(12)
        told = _session(session, "reconnecting", None, f"{url}?reconnect_id={session.reconnect_id}")
        link = session.links[-1]
        link.gone_by = link.time() + self.rules.reconnect_grace_s
        link.outgoing.put_nowait(_frame("session_reconnect", {"session": told}, self._now()))

    def drop(self, session_id: str, code: int) -> None:
        """Close every connection of the session with `code`."""
        for link in self.sessions[session_id].links:
            link.outgoing.put_nowait(code)

    def cut(self, session_id: str) -> None:
        """The network breaks: the connections end without a close frame."""
        for link in self.sessions[session_id].links:
            link.transport.abort()

    def close(self) -> None:
        """The server stops: close every connection with 4000."""
        for session_id in list(self.sessions):
            self.drop(session_id, 4000)


def _session(session: Session, status: str, keepalive_s: int | None, reconnect_url: str | None) -> dict[str, Any]:
    return {
        "id": session.id,
        "status": status,
        "keepalive_timeout_seconds": keepalive_s,
        "reconnect_url": reconnect_url,
        "connected_at": rfc3339(session.connected_at),
    }


def _frame(message_type: str, payload: Json, at: datetime, **more: str) -> str:
    metadata = {"message_id": str(uuid.uuid4()), "message_type": message_type, "message_timestamp": rfc3339(at), **more}
    return msgspec.json.encode({"metadata": metadata, "payload": payload}).decode()
