"""Listens to Twitch over EventSub's websockets: one connection for each connected broadcaster, for a self-hoster behind a
home router, to whom no webhook comes.

This is the shell around the state machine of ingest/codecs/eventsub_session.py, which decides everything: here are the
sockets, the clock, and the way of each message into the intake. `Listeners` shares broadcasters out among processes.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime

from msgspec import Struct
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from ingest.codecs import twitch
from ingest.codecs.delivery import Delivery
from ingest.codecs.eventsub_session import Action, Close, Deliver, Open, Session, Subscribe, Unreadable
from ingest.intake import Intake
from ingest.receive import MAX_BODY_BYTES
from ingest.subscriptions import EVERY_S, ensure_on_session
from schemas.errors import LogUnavailable, NotConnected, StreamkitError
from schemas.event import utc_now
from streamkit import telemetry
from streamkit.leases import BEAT_S, Leases
from streamkit.platforms.connections import Connection
from streamkit.platforms.parts import Platforms

MAX_FRAME_BYTES = MAX_BODY_BYTES
"""What a webhook's body may have, too: Twitch's largest messages are a few KiB."""

UNDER_WAY = 64
"""Messages of one broadcaster on their way to the log at a time; more wait in the socket."""

OPEN_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 1.0
STOP_S = 2.0
AGAIN_S = 60.0
"""A listener that was turned away (no tokens) is tried again after so long, if they are there again not sooner."""

_TAKE_AGAIN_FIRST_S = 0.2
_TAKE_AGAIN_LAST_S = 5.0
_INBOX = 16
_CODES = frozenset({1000, *range(4000, 4008)})

# At DEBUG the library logs every frame: they are what viewers wrote.
_silent = logging.getLogger("streamkit.websocket")
_silent.setLevel(logging.CRITICAL)

EnsureSubscribed = Callable[[str], Awaitable[int]]
"""(session id) → how many subscriptions the session has now; raises NotConnected when the listener is to end."""


class _Arrived(Struct, frozen=True):
    link: int
    text: str | bytes
    received_at: datetime


class _Ended(Struct, frozen=True):
    link: int


class _SubscribingDone(Struct, frozen=True):
    link: int
    count: int


class _Connect(connect):
    """Follows no redirect: that would be a host that nobody configured."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class Listener:
    """One broadcaster's. `run` it as a task; cancelled, it closes its connections and brings what came to the log."""

    def __init__(self, url: str, intake: Intake, ensure_subscribed: EnsureSubscribed) -> None:
        self._intake = intake
        self._ensure_subscribed = ensure_subscribed
        self._session = Session(url, jitter=random.random)
        self._inbox: asyncio.Queue[_Arrived | _Ended | _SubscribingDone | None] = asyncio.Queue(_INBOX)
        self._readers: dict[int, asyncio.Task[None]] = {}
        self._sockets: dict[int, ClientConnection] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._subscribing: asyncio.Task[None] | None = None
        self._taking: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(UNDER_WAY)
        self._turned_away: NotConnected | None = None
        self.listening = False

    @property
    def links(self) -> int:
        """Connections that are open, being opened or being closed."""
        return len(self._readers)

    def revive(self) -> None:
        """Look at the subscriptions again, soon."""
        self._session.revive(asyncio.get_running_loop().time())
        with suppress(asyncio.QueueFull):
            self._inbox.put_nowait(None)

    async def run(self) -> None:
        """Until cancelled. Raises NotConnected when there are no tokens to subscribe with."""
        loop = asyncio.get_running_loop()
        try:
            await self._do(self._session.start(loop.time()))
            while self._turned_away is None:
                arrived = await self._next()
                await self._do(self._told(arrived, loop.time()))
                self._session.waits(loop.time())
            raise self._turned_away
        finally:
            await self._stop()

    async def _next(self) -> _Arrived | _Ended | _SubscribingDone | None:
        """What comes next; None when time has passed."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._session.due_at()):
                return await self._inbox.get()
        return None

    def _told(self, arrived: _Arrived | _Ended | _SubscribingDone | None, now: float) -> list[Action]:
        session = self._session
        match arrived:
            case None:
                return session.tick(now)
            case _Arrived():
                return session.frame(arrived.link, arrived.text, arrived.received_at, now)
            case _Ended():
                self._readers.pop(arrived.link, None)
                return self._noted(session.ended(arrived.link, now))
            case _SubscribingDone():
                if arrived.count:
                    session.subscribed(arrived.link)
                    return self._noted([])
                return self._noted(session.not_subscribed(arrived.link, now))

    def _noted(self, actions: list[Action]) -> list[Action]:
        """Count whether it listens now."""
        listening = self._session.is_subscribed
        if listening != self.listening:
            self.listening = listening
            telemetry.EVENTSUB_LISTENING.inc(1 if listening else -1)
        return actions

    async def _do(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Open(link, url):
                    self._readers[link] = asyncio.create_task(self._read(link, url), name="eventsub link")
                case Close(link):
                    self._close(link)
                case Subscribe(link, session_id):
                    if self._subscribing is not None:
                        self._subscribing.cancel()
                    self._subscribing = asyncio.create_task(
                        self._subscribe(link, session_id), name="eventsub subscribe"
                    )
                case Deliver(delivery):
                    await self._room.acquire()
                    task = asyncio.create_task(self._take(delivery), name="eventsub message")
                    self._taking.add(task)
                    task.add_done_callback(self._taken)
                case Unreadable():
                    telemetry.EVENTSUB_UNREADABLE.inc()
        self._noted([])

    async def _read(self, link: int, url: str) -> None:
        code = "none"
        try:
            async with _Connect(
                url,
                compression=None,
                user_agent_header="StreamKit",
                proxy=None,
                open_timeout=OPEN_TIMEOUT_S,
                ping_interval=None,  # Twitch closes with 4001 on anything but a pong
                close_timeout=CLOSE_TIMEOUT_S,
                max_size=MAX_FRAME_BYTES,
                logger=_silent,
            ) as socket:
                self._sockets[link] = socket
                while True:
                    text = await socket.recv()
                    await self._inbox.put(_Arrived(link, text, utc_now()))
        except ConnectionClosed as closed:
            received = closed.rcvd.code if closed.rcvd is not None else None
            code = "none" if received is None else str(received) if received in _CODES else "other"
        except (WebSocketException, OSError, TimeoutError, ValueError):
            pass  # it never opened
        finally:
            self._sockets.pop(link, None)
            telemetry.EVENTSUB_ENDED.labels(code).inc()
        await self._inbox.put(_Ended(link))

    def _close(self, link: int) -> None:
        socket = self._sockets.get(link)
        if socket is None:  # not open yet
            if (reader := self._readers.pop(link, None)) is not None:
                reader.cancel()
                self._closing.add(reader)
                reader.add_done_callback(self._closing.discard)
            return
        task = asyncio.create_task(socket.close(), name="eventsub close")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _subscribe(self, link: int, session_id: str) -> None:
        count = 0
        try:
            count = await self._ensure_subscribed(session_id)
        except NotConnected as turned_away:
            self._turned_away = turned_away
        except StreamkitError as error:
            telemetry.warn("eventsub.not_subscribed", why=str(error))
        await self._inbox.put(_SubscribingDone(link, count))

    async def _take(self, delivery: Delivery) -> None:
        """Until the log has it: Twitch does not send it again."""
        pause_s = _TAKE_AGAIN_FIRST_S
        while True:
            try:
                await self._intake.take("twitch", twitch.event_id(delivery), delivery, twitch.decode)
                return
            except LogUnavailable:
                await asyncio.sleep(pause_s)
                pause_s = min(_TAKE_AGAIN_LAST_S, pause_s * 2)
            except StreamkitError as error:
                telemetry.error("eventsub.message_lost", why=str(error))
                return

    def _taken(self, task: asyncio.Task[None]) -> None:
        self._taking.discard(task)
        self._room.release()

    async def _stop(self) -> None:
        """Close everything; what still comes on the way out counts, as far as 2 s reach."""
        for action in self._session.stop():
            if isinstance(action, Close):
                self._close(action.link)
        if self._subscribing is not None:
            self._subscribing.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                while self._readers:
                    await self._do(self._told(await self._inbox.get(), asyncio.get_running_loop().time()))
                if self._taking:
                    await asyncio.wait(self._taking)
        if self._taking:
            telemetry.error("eventsub.messages_lost", count=len(self._taking))
        rest = [*self._readers.values(), *self._closing, *self._taking]
        rest += [self._subscribing] if self._subscribing is not None else []
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        self._readers.clear()
        self._noted([])


class _Running(Struct):
    listener: Listener
    task: asyncio.Task[None]
    granted_at: datetime


class Listeners:
    """A listener for each broadcaster that is connected to Twitch with tokens, in this process or in another one."""

    def __init__(self, url: str, platforms: Platforms, intake: Intake, leases: Leases) -> None:
        self._url = url
        self._platforms = platforms
        self._intake = intake
        self._leases = leases
        self._running: dict[str, _Running] = {}
        self._not_before: dict[str, float] = {}
        self._wake = asyncio.Event()
        platforms.tokens.on_change(self._wake.set)

    @property
    def listening(self) -> int:
        """How many have subscriptions here."""
        return sum(running.listener.listening for running in self._running.values())

    async def run(self) -> None:
        """For the life of the process; a task of its own. Cancelled, it ends every listener and gives them back."""
        loop = asyncio.get_running_loop()
        revive_at = loop.time() + EVERY_S
        try:
            while True:
                await self._share_out(loop.time())
                if loop.time() >= revive_at:  # something was deleted there, perhaps
                    revive_at = loop.time() + EVERY_S
                    for running in self._running.values():
                        running.listener.revive()
                with suppress(TimeoutError):
                    async with asyncio.timeout(BEAT_S):
                        await self._wake.wait()
                self._wake.clear()
        finally:
            names = list(self._running)
            await self._end(names)
            await self._leases.leave(names)

    async def _share_out(self, now: float) -> None:
        wanted = {
            f"{connection.user_id}:{connection.platform_id}": connection
            for connection in self._platforms.tokens.connections().values()
            if connection.platform == "twitch" and connection.state == "connected"
        }
        for name, running in list(self._running.items()):
            if running.task.done():
                self._turned_away(name, running.task, now)
        mine = await self._leases.share(wanted, self._running)
        leaving = [name for name in self._running if name not in mine]
        await self._end(leaving)
        await self._leases.give_back(leaving)
        self._not_before = {name: at for name, at in self._not_before.items() if at > now and name in wanted}
        for name, running in self._running.items():
            if running.granted_at != wanted[name].granted_at:  # the streamer consented again, to more scopes perhaps
                running.granted_at = wanted[name].granted_at
                running.listener.revive()
        for name in sorted(mine - self._running.keys() - self._not_before.keys()):
            self._begin(name, wanted[name])

    def _begin(self, name: str, connection: Connection) -> None:
        user_id = connection.user_id

        async def ensure_subscribed(session_id: str) -> int:
            return await ensure_on_session(self._platforms, user_id, session_id)

        listener = Listener(self._url, self._intake, ensure_subscribed)
        task = asyncio.create_task(listener.run(), name=f"eventsub {name}")
        task.add_done_callback(lambda _: self._wake.set())
        self._running[name] = _Running(listener, task, connection.granted_at)
        telemetry.info("eventsub.listener_started", user_id=user_id)

    def _turned_away(self, name: str, task: asyncio.Task[None], now: float) -> None:
        """A listener ended by itself."""
        del self._running[name]
        self._not_before[name] = now + AGAIN_S
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, NotConnected):
            raise error
        telemetry.warn("eventsub.listener_ended", user_id=int(name.partition(":")[0]), why=str(error))

    async def _end(self, names: list[str]) -> None:
        tasks = [self._running.pop(name).task for name in names]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
