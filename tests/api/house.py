"""A small house for the api room's tests: a real directory and real credentials, read models told what to say, and
a real aiohttp server.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import aiohttp
from msgspec import Struct

from api.app import ApiRoom, build_app
from schemas.control import (
    BroadcasterRegistered,
    ControlEvent,
    PlatformConnected,
    encode_control,
)
from schemas.errors import Retry
from schemas.read_models import QUERIES
from streamkit.credentials import Credentials
from streamkit.directory import Directory
from streamkit.front import Front
from streamkit.issuing import issue_client, issue_token
from streamkit.keys import Keys
from streamkit.lifecycle import Server, serve
from streamkit.reads import Answer, Change, Question, ReadModels

KEYS = Keys.derive(bytes(range(32)))
AT = datetime(2026, 6, 6, tzinfo=UTC)
USER = 123

EMPTY: dict[str, list[tuple[Any, ...]]] = {
    "stream_status": [],
    "subscription_totals": [(0, 0, 0, 0)],
    "active_totals": [],
    "active_preview": [],
    "subscription_history": [],
    "coins_summary": [(0, 0)],
    "coins_leaderboard": [],
    "kicks_summary": [(0, 0)],
    "kicks_top": [],
    "kicks_history": [],
    "events_total": [(0,)],
    "events_history": [],
    "coins_viewer": [],
    "loyalty_rules": [(1, 10, 100, 50, 1, 1)],
    "song_queue": [],
    "song_history": [],
    "giveaway_now": [],
    "giveaway_entries": [],
    "giveaway_history": [],
    "wheel_now": [(None, [], None)],
    "wheel_history": [],
    "gamble_history": [],
}
"""Each query's rows for a broadcaster of whom nothing is known."""


class ToldReads:
    """Read models that say what they were told: `rows` by query name, at `position` of partition 0.

    `away` makes them unreachable; `asked` keeps every question; an `ask` waits while `held` is set.
    """

    def __init__(self) -> None:
        self.rows = dict(EMPTY)
        self.position = 10
        self.away = False
        self.asked: list[tuple[int, list[Question]]] = []
        self.moved = asyncio.Condition()
        self.gate = asyncio.Event()
        self.gate.set()
        self.callbacks: list[Callable[[Change], None]] = []

    async def ask(
        self, user_id: int, questions: Sequence[Question], *, min_position: int = 0, wait_s: float = 0.0
    ) -> Answer:
        """The rows told, once `min_position` is reached. Raises Retry."""
        self.asked.append((user_id, list(questions)))
        if self.away:
            raise Retry("The read models are away.")
        position = self.position
        rows = [[_row(each.name, values) for values in self.rows[each.name]] for each in questions]
        await self.gate.wait()
        if position < min_position:
            position = await self._reached(min_position, wait_s)
            rows = [[_row(each.name, values) for values in self.rows[each.name]] for each in questions]
        return Answer(0, position, rows)

    async def _reached(self, min_position: int, wait_s: float) -> int:
        try:
            async with asyncio.timeout(wait_s), self.moved:
                await self.moved.wait_for(lambda: self.position >= min_position)
        except TimeoutError:
            raise Retry("The position is not reached.") from None
        return self.position

    def partition_of(self, user_id: int) -> int:
        """There is one."""
        return 0

    def on_change(self, callback: Callable[[Change], None]) -> None:
        """Keep the callback for `commit`."""
        self.callbacks.append(callback)

    async def commit(self, *user_ids: int, told: bool = True, **rows: list[tuple[Any, ...]]) -> int:
        """A commit that touches `user_ids` and changes `rows`; gives back its position."""
        self.rows.update(rows)
        self.position += 1
        if told:
            for callback in self.callbacks:
                callback(Change(0, self.position, frozenset(user_ids)))
        async with self.moved:
            self.moved.notify_all()
        return self.position


def _row(name: str, values: tuple[Any, ...]) -> Struct:
    return QUERIES[name].row(*values)


class QuietSoft:
    """Soft state of which the api uses the change feed alone."""

    connected = True
    shared = False

    def __init__(self) -> None:
        self.callbacks: list[Callable[[Change], None]] = []

    def on_change(self, callback: Callable[[Change], None]) -> None:
        """Keep the callback for tests to call."""
        self.callbacks.append(callback)

    async def known(self, event_id: str) -> str | None:
        """Ingest's question, which api never asks."""
        raise AssertionError(event_id)

    def remember(self, event_id: str, position: str) -> None:
        """Ingest's, too."""
        raise AssertionError(event_id, position)

    def publish(self, change: Change) -> None:
        """The projector's."""
        raise AssertionError(change)

    def spend(self, spent: Mapping[str, int]) -> None:
        """There is nobody to tell."""

    def on_spent(self, callback: Callable[[Mapping[str, int]], None]) -> None:
        """Nobody tells."""

    async def acquire(self, name: str, ttl_s: float) -> bool:
        """The command's, which asks for a platform first."""
        raise AssertionError(name)

    async def release(self, name: str) -> None:
        """The command's, too."""
        raise AssertionError(name)

    async def script(self, source: str, keys: Sequence[str], arguments: Sequence[str]) -> Any:
        """Ingest's."""
        raise AssertionError(source)

    async def close(self) -> None:
        """Nothing to close."""


class Triple(Struct, frozen=True):
    """Three credentials that go together."""

    client_id: str
    client_secret: str
    jwt: str
    jti: str = ""

    def headers(self) -> dict[str, str]:
        """As headers."""
        return {
            "X-Client-Id": self.client_id,
            "X-Client-Secret": self.client_secret,
            "Authorization": f"Bearer {self.jwt}",
        }

    def query(self) -> dict[str, str]:
        """As query parameters."""
        return {"client_id": self.client_id, "client_secret": self.client_secret, "jwt": self.jwt}


class House:
    """Everything a test may turn: the directory, the read models, soft state, and a client session."""

    def __init__(self) -> None:
        self.directory = Directory()
        self.credentials = Credentials(self.directory, KEYS)
        self.reads = ToldReads()
        self.soft = QuietSoft()
        self.server: Server
        self.session: aiohttp.ClientSession
        self.room: ApiRoom
        self.apply(
            BroadcasterRegistered(at=AT, user_id=USER, name="Streamer", primary_platform="twitch"),
            PlatformConnected(at=AT, user_id=USER, platform="kick", platform_id="84635624", username="streamer_name"),
            PlatformConnected(at=AT, user_id=USER, platform="twitch", platform_id="29958160", username="streamer_tv"),
        )
        self.triple = self.issue()

    def apply(self, *events: ControlEvent) -> None:
        """Fold control events into the directory."""
        for event in events:
            assert self.directory.apply(encode_control(event)), event

    def issue(
        self,
        user_id: int = USER,
        scopes: Sequence[str] = ("read", "stream-info:write"),
        lifetime: timedelta = timedelta(days=365 * 50),
    ) -> Triple:
        """A new client with a token."""
        client = issue_client(KEYS, user_id, scopes, at=AT)
        token = issue_token(
            KEYS, user_id=user_id, client_id=client.record.client_id, scopes=scopes, lifetime=lifetime, at=AT
        )
        self.apply(client.record, token.record)
        return Triple(client.record.client_id, client.client_secret, token.jwt, token.record.jti)

    async def get(self, path: str, method: str = "GET", **options: Any) -> Reply:
        """Ask the server, with the house's credentials unless `headers` are given whole by `bare=True`."""
        headers = dict(options.pop("headers", {}))
        if not options.pop("bare", False):
            headers = self.triple.headers() | headers
        url = path if path.startswith("/api") else f"/api/public/v2/{path}"
        async with self.session.request(method, url, headers=headers, **options) as response:
            return Reply(response.status, dict(response.headers), await response.read())


class Reply(Struct, frozen=True):
    """An answer, read whole."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body's JSON."""
        return json.loads(self.body)


@asynccontextmanager
async def serving(
    house: House,
    *,
    reads: ReadModels | None = None,
    timezone: tzinfo = UTC,
    rate_limit: float = 0.0,
    cors_origins: Sequence[str] = ("*",),
) -> AsyncIterator[House]:
    """Serve the room over real HTTP on loopback, on other read models than the told ones when `reads` are given."""
    house.room = ApiRoom(
        reads or house.reads,
        house.directory,
        house.soft,
        Front(house.credentials, rate_limit=rate_limit, cors_origins=cors_origins),
        timezone=timezone,
    )
    await house.room.start()
    house.server = await serve(build_app(house.room), "127.0.0.1", 0)
    house.session = aiohttp.ClientSession(
        house.server.url, auto_decompress=False, skip_auto_headers=["Accept-Encoding"]
    )
    try:
        yield house
    finally:
        await house.session.close()
        await house.room.close()
        await house.server.close()
