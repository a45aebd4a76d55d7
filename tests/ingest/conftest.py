"""The ingest room on a real server on loopback, on a log in memory, with two broadcasters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from msgspec import Struct

from ingest.app import IngestRoom, build_app
from ingest.kick_keys import KickKeys
from schemas.control import BroadcasterRegistered, ControlEvent, PlatformConnected, encode_control
from schemas.dead_letter import DeadLetter, decode_dead_letter
from schemas.event import Event, decode_event, utc_now
from streamkit.credentials import Credentials
from streamkit.directory import Directory
from streamkit.front import Front
from streamkit.issuing import issue_client, issue_token
from streamkit.keys import Keys
from streamkit.lifecycle import Server, serve
from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import CONTROL, DEAD_LETTERS, EVENTS, EventLog, Record
from streamkit.redis import InProcess
from tests.fakes.platforms import Platforms
from tests.samples import KICK_BROADCASTER, TWITCH_BROADCASTER, USER_ID
from tests.signing import KickSigner, TwitchSigner
from tests.streamkit.platforms.world import World

KEYS = Keys.derive(bytes(range(32)))
OTHER_USER_ID = 8
OTHER_KICK_BROADCASTER = "7002"


class Answered(Struct, frozen=True):
    """An HTTP answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Remembering(InProcess):
    """Soft state of one process that shows what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.positions: dict[str, str] = {}

    def remember(self, event_id: str, position: str) -> None:
        super().remember(event_id, position)
        self.positions[event_id] = position


class Ingest:
    """A served room and what a test asks of it."""

    def __init__(self, kick: KickSigner, twitch: TwitchSigner, log: EventLog | None = None) -> None:
        self.kick = kick
        self.twitch = twitch
        self.log = log or MemoryLog(partitions=4)
        self.soft = Remembering()
        self.directory = Directory()
        self.server: Server
        self.room: IngestRoom
        self.session: aiohttp.ClientSession

    async def start(self, *, rate_limit: float = 0.0, cors_origins: Sequence[str] = ("*",), **settings: Any) -> None:
        """Serve a room made with `settings`."""
        front = Front(Credentials(self.directory, KEYS), rate_limit=rate_limit, cors_origins=cors_origins)
        defaults: dict[str, Any] = {
            "timezone": UTC,
            "twitch_secrets": (self.twitch.secret,),
            "kick_keys": KickKeys(self.kick.public_pem),
            "kick_webhook_token": None,
            "dead_letter_max_bytes": 1 << 20,
        }
        self._following = asyncio.create_task(self.directory.follow(self.log))
        await self.directory.ready()
        self.room = IngestRoom(self.log, self.directory, self.soft, front, **defaults | settings)
        await self.room.start()
        self._draining = asyncio.create_task(self.room.drain())
        self.server = await serve(build_app(self.room), "127.0.0.1", 0)
        self.session = aiohttp.ClientSession(self.server.url)

    async def close(self) -> None:
        """Stop in reverse."""
        await self.session.close()
        await self.server.close()
        self._draining.cancel()
        await asyncio.gather(self._draining, return_exceptions=True)
        await self.room.close()
        await self.soft.close()
        self._following.cancel()
        await asyncio.wait({self._following})

    async def post(self, path: str, body: bytes, headers: Mapping[str, str] | list[tuple[str, str]]) -> Answered:
        """Deliver `body`."""
        async with self.session.post(path, data=body, headers=headers) as answer:
            return Answered(answer.status, dict(answer.headers), await answer.read())

    async def post_kick(self, type_: str, body: bytes, **signing: Any) -> Answered:
        """Deliver `body` as Kick would."""
        return await self.post("/webhooks/kick", body, self.kick.headers(type_, body, **signing))

    async def post_twitch(self, type_: str, body: bytes, **signing: Any) -> Answered:
        """Deliver `body` as Twitch would."""
        return await self.post("/webhooks/twitch", body, self.twitch.headers(type_, body, **signing))

    async def issue(self, user_id: int = USER_ID, scopes: Sequence[str] = ("read", "events:write")) -> dict[str, str]:
        """The headers of a new client with a token."""
        at = utc_now()
        client = issue_client(KEYS, user_id, scopes, at=at)
        client_id = client.record.client_id
        token = issue_token(
            KEYS, user_id=user_id, client_id=client_id, scopes=scopes, lifetime=timedelta(days=1), at=at
        )
        await self.log.append(
            CONTROL, [Record(client_id, encode_control(each)) for each in (client.record, token.record)]
        )
        return {
            "X-Client-Id": client_id,
            "X-Client-Secret": client.client_secret,
            "Authorization": f"Bearer {token.jwt}",
        }

    async def register(self, user_id: int, platform: Any, platform_id: str) -> None:
        """Put a broadcaster on the control topic."""
        at = utc_now()
        events: tuple[ControlEvent, ...] = (
            BroadcasterRegistered(at=at, user_id=user_id, name=f"broadcaster {user_id}"),
            PlatformConnected(at=at, user_id=user_id, platform=platform, platform_id=platform_id, username="name"),
        )
        await self.log.append(CONTROL, [Record(str(user_id), encode_control(event)) for event in events])

    async def events(self) -> list[Event]:
        """All events on the log."""
        return [decode_event(value) for value in await self._values(EVENTS)]

    async def letters(self) -> list[DeadLetter]:
        """All dead letters."""
        return [decode_dead_letter(value) for value in await self._values(DEAD_LETTERS)]

    async def _values(self, topic: str) -> list[bytes]:
        values = []
        for partition, end in enumerate(await self.log.ends(topic)):
            values += (await self.log.read(topic, partition, 0, limit=end + 1)).values
        return values


@pytest.fixture
async def world(platforms: Platforms, tmp_path: Path) -> AsyncIterator[World]:
    """Broadcaster 1, connected to nothing, and the fake platforms."""
    world = World(platforms, tmp_path)
    await world.register(1)
    yield world
    await world.close()


@pytest.fixture(scope="session")
def kick_signer() -> KickSigner:
    return KickSigner()


@pytest.fixture
async def unserved(kick_signer: KickSigner) -> AsyncIterator[Ingest]:
    """Broadcasters registered; the test starts the room with the settings it is about."""
    ingest = Ingest(kick_signer, TwitchSigner())
    await ingest.register(USER_ID, "kick", KICK_BROADCASTER)
    await ingest.register(USER_ID, "twitch", TWITCH_BROADCASTER)
    await ingest.register(OTHER_USER_ID, "kick", OTHER_KICK_BROADCASTER)
    yield ingest
    await ingest.close()


@pytest.fixture
async def ingest(unserved: Ingest) -> Ingest:
    """A room with the usual settings, serving."""
    await unserved.start()
    return unserved
