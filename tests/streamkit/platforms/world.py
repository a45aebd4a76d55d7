"""One deployment's processes, as far as tokens go: each with a directory, a vault and tokens of its own, over one log."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path

from schemas.control import BroadcasterRegistered, PlatformName, encode_control
from schemas.event import utc_now
from schemas.vault import Place, VaultRecord
from streamkit.directory import Directory
from streamkit.keys import Keys
from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import CONTROL, VAULT, EventLog, Record
from streamkit.platforms.adopt import adopt
from streamkit.platforms.answers import Grant, Profile
from streamkit.platforms.kick import KickApi
from streamkit.platforms.parts import configured_platforms, outgoing_of
from streamkit.platforms.scopes import scopes_asked
from streamkit.platforms.tokens import Tokens
from streamkit.platforms.twitch import TwitchApi
from streamkit.platforms.vault import Vault
from streamkit.redis import InProcess, SoftState
from streamkit.settings import Settings, load_settings
from tests.fakes.platforms import KICK_STREAMER, TWITCH_STREAMER, Platforms

KEYS = Keys.derive(bytes(range(32)))
USER_ID = 1
REDIRECT = "http://localhost:9/connect/x/callback"
VERIFIER = "v" * 64
PEOPLE: dict[PlatformName, str] = {"kick": KICK_STREAMER.id, "twitch": TWITCH_STREAMER.id}


class Process:
    """What one process has. `kill` leaves everything as it is at that moment."""

    def __init__(self, world: World, settings: Settings, keys: Keys, soft: SoftState | None) -> None:
        self._world = world
        self.settings = settings
        self.keys = keys
        self.log = world.log
        self.directory = Directory()
        self.vault = Vault(self.log)
        self.outgoing = outgoing_of(settings)
        self.kick, self.twitch = KickApi(self.outgoing, settings), TwitchApi(self.outgoing, settings)
        self.soft = soft or InProcess()
        self.tokens = Tokens(
            self.vault,
            self.directory,
            self.soft,
            keys,
            kick=self.kick,
            twitch=self.twitch,
            configured=configured_platforms(settings),
            now=world.platforms.clock,
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Follow both topics."""
        self._tasks = [asyncio.create_task(self.directory.follow(self.log))]
        await self.directory.ready()
        await self.tokens.start()
        self._tasks.append(asyncio.create_task(self.vault.follow()))

    async def close(self) -> None:
        """As a process that is asked to stop."""
        await self.tokens.close()
        await self.kill()

    async def kill(self) -> None:
        """No renewal comes to its end."""
        under_way = [*self._tasks, *self.tokens._renewals.values()]
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await self.outgoing.close()

    async def connect(self, platform: PlatformName = "kick", user_id: int = USER_ID) -> Profile:
        """The streamer's consent, without the browser."""
        api = self.kick if platform == "kick" else self.twitch
        return await adopt(
            (user_id, platform),
            await self.granted(platform),
            api,
            scopes=scopes_asked(platform, self.settings),
            keys=self.keys,
            log=self.log,
            directory=self.directory,
            vault=self.vault,
        )

    async def granted(self, platform: PlatformName) -> Grant:
        """New tokens of the streamer's."""
        fakes, scopes = self._world.platforms, scopes_asked(platform, self.settings)
        if platform == "twitch":
            code = fakes.twitch.grants.code(PEOPLE[platform], scopes, REDIRECT, None)
            return await self.twitch.exchange_code(code, redirect_uri=REDIRECT)
        digest = hashlib.sha256(VERIFIER.encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        code = fakes.kick.grants.code(PEOPLE[platform], scopes, REDIRECT, challenge)
        return await self.kick.exchange_code(code, redirect_uri=REDIRECT, verifier=VERIFIER)


class World:
    """A log with broadcasters 1 and 2, the fake platforms, and processes that end with the test."""

    def __init__(self, platforms: Platforms, folder: Path, log: EventLog | None = None) -> None:
        self.platforms = platforms
        self.log = log or MemoryLog()
        self._folder = folder
        self._processes: list[Process] = []

    async def process(
        self, environ: Mapping[str, str] | None = None, *, keys: Keys = KEYS, soft: SoftState | None = None
    ) -> Process:
        """One more process."""
        settings = load_settings({**self.platforms.settings(), **(environ or {})}, self._folder)
        process = Process(self, settings, keys, soft)
        self._processes.append(process)
        await process.start()
        return process

    async def register(self, *user_ids: int) -> None:
        """Broadcasters without a platform."""
        records = [BroadcasterRegistered(at=utc_now(), user_id=user_id, name=f"b{user_id}") for user_id in user_ids]
        await self.log.append(CONTROL, [Record(f"user:{r.user_id}", encode_control(r)) for r in records])

    async def vault(self) -> dict[Place, VaultRecord]:
        """What a process that starts now would read."""
        vault = Vault(self.log)
        await vault.catch_up()
        return vault.records

    async def vault_bytes(self) -> bytes:
        """Every record there ever was."""
        (end,) = await self.log.ends(VAULT)
        return b"\n".join((await self.log.read(VAULT, 0, 0, limit=end + 1)).values)

    async def close(self) -> None:
        """End what still runs."""
        for process in self._processes:
            await process.close()
