"""Who the broadcasters are and who may read what: the control topic, folded into memory.

Every ingest and api process follows the topic, so a look-up costs no network call and a revocation is in force
everywhere in under a second. The fold (`apply`) is pure: what stands depends on the records and their order alone,
and the first record in log order for a `user_id`, a (platform, id), a client or a token wins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from schemas import control
from schemas.errors import UNREADABLE, LogClosed, LogUnavailable
from streamkit import telemetry
from streamkit.log.protocol import CONTROL, Batch, EventLog

REFRESHES_PER_S = 20
REFRESH_WAIT_S = 1.0
"""How long a caller waits for the log at most before it has to live with what is known."""

_FOLLOW_WAIT_S = 5.0
_RETRY_FIRST_S = 0.1
_RETRY_LAST_S = 5.0


class Identity(Struct, frozen=True):
    """A broadcaster on one platform: Kick's username or Twitch's login, and the platform's own user id."""

    username: str
    id: str


class Broadcaster(Struct, frozen=True):
    """`platforms` holds connected platforms only, in the order they were connected; `primary_platform` is one of
    them, None without any."""

    user_id: int
    name: str
    primary_platform: str | None
    platforms: dict[str, Identity]


class Secret(Struct, frozen=True):
    """The keyed hash of a client's secret and the key it was made with; `valid_until` None: until further notice."""

    hash: str
    key_id: str
    valid_until: datetime | None


class Client(Struct, frozen=True):
    """An API client. `secrets` has the present one first. Revoked with its broadcaster's removal too, for good."""

    client_id: str
    user_id: int
    scopes: tuple[str, ...]
    secrets: tuple[Secret, ...]
    issued_at: datetime
    revoked: bool


class Token(Struct, frozen=True):
    """A JWT by its `jti`. `revoked` says whether the token itself was; its client may be."""

    jti: str
    client_id: str
    user_id: int
    scopes: tuple[str, ...]
    issued_at: datetime
    expires_at: datetime
    revoked: bool


class Directory:
    """The folded control topic. One per process and event loop; everything but follow, ready and refresh is
    synchronous, cheap and never raises."""

    def __init__(self) -> None:
        self.version = 0
        self.position = 0
        self.skipped = 0
        """Records this build does not know (a newer build's commands, for one)."""
        self.highest_user_id = 0
        """Of all broadcasters there ever were: ids are not used twice."""
        self._registered: dict[int, control.BroadcasterRegistered] = {}
        self._removed: set[int] = set()
        self._broadcasters: dict[int, Broadcaster] = {}
        self._identities: dict[tuple[str, str], int] = {}
        self._clients: dict[str, Client] = {}
        self._tokens: dict[str, Token] = {}
        self._spent: dict[str, str] = {}
        self._callbacks: list[Callable[[], None]] = []
        self._log: EventLog | None = None
        self._ready = asyncio.Event()
        self._one_refresh = asyncio.Lock()
        self._last_refresh = -1.0
        self._next_refresh: asyncio.Task[bool] | None = None
        self._refreshes: set[asyncio.Task[bool]] = set()

    # Look-ups

    def broadcaster_of(self, platform: str, platform_id: str) -> int | None:
        """The user_id whose identity this is; None when nobody has it."""
        return self._identities.get((platform, platform_id))

    def broadcaster(self, user_id: int) -> Broadcaster | None:
        """None when there never was one, or it was removed."""
        return self._broadcasters.get(user_id)

    def was_removed(self, user_id: int) -> bool:
        """Whether a broadcaster of this id existed and was removed; its id and its events stay on the log."""
        return user_id in self._removed

    def client(self, client_id: str) -> Client | None:
        """The client, revoked ones too; None when it was never issued."""
        return self._clients.get(client_id)

    def token(self, jti: str) -> Token | None:
        """The token, revoked ones too; None when it was never issued."""
        return self._tokens.get(jti)

    def spent_by(self, id: str) -> str | None:
        """The request that used this ticket or state of a consent first; None while nobody has."""
        return self._spent.get(id)

    def broadcasters(self) -> Iterable[Broadcaster]:
        """All that stand, in the order of registration."""
        return self._broadcasters.values()

    def clients(self) -> Iterable[Client]:
        """All ever issued."""
        return self._clients.values()

    def tokens(self) -> Iterable[Token]:
        """All ever issued."""
        return self._tokens.values()

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call `callback` (on the event loop, must not block) after each batch of records that changed something."""
        self._callbacks.append(callback)

    # The fold

    def apply(self, value: bytes) -> bool:
        """Fold one record; whether it took effect (False: an earlier record stands against it, or it is unknown)."""
        try:
            event = control.decode_control(value)
        except UNREADABLE:
            self.skipped += 1
            return False
        changed = self._fold(event)
        self.version += changed
        return changed

    def _fold(self, event: control.ControlEvent) -> bool:
        match event:
            case (
                control.LogCreated()
                | control.DeadLettersRedriven()
                | control.DeadLettersDropped()
                | control.GenerationStarted()
                | control.GenerationPromoted()
                | control.GenerationDropped()
                | control.SnapshotWanted()
            ):
                return False  # the log's business, the dead letters', the projector's
            case control.BroadcasterRegistered():
                return self._register(event)
            case control.BroadcasterRemoved():
                return self._remove(event.user_id)
            case control.PlatformConnected():
                return self._connect(event)
            case control.PlatformDisconnected():
                return self._disconnect(event)
            case control.ConnectSpent():
                return self._spend(event)
            case control.ClientIssued():
                return self._issue_client(event)
            case control.ClientSecretRotated():
                return self._rotate(event)
            case control.ClientRevoked():
                return self._revoke_client(event.client_id)
            case control.TokenIssued():
                return self._issue_token(event)
            case control.TokenRevoked():
                return self._revoke_token(event.jti)

    def _register(self, event: control.BroadcasterRegistered) -> bool:
        if event.user_id in self._registered:
            return False
        self._registered[event.user_id] = event
        self._broadcasters[event.user_id] = Broadcaster(event.user_id, event.name, None, {})
        self.highest_user_id = max(self.highest_user_id, event.user_id)
        return True

    def _remove(self, user_id: int) -> bool:
        broadcaster = self._broadcasters.pop(user_id, None)
        if broadcaster is None:
            return False
        self._removed.add(user_id)
        for platform, identity in broadcaster.platforms.items():
            del self._identities[platform, identity.id]
        for client in [client for client in self._clients.values() if client.user_id == user_id]:
            self._clients[client.client_id] = replace(client, revoked=True)
        return True

    def _connect(self, event: control.PlatformConnected) -> bool:
        broadcaster = self._broadcasters.get(event.user_id)
        if (
            broadcaster is None
            or self._identities.get((event.platform, event.platform_id), event.user_id) != event.user_id
        ):
            return False
        identity = Identity(event.username, event.platform_id)
        before = broadcaster.platforms.get(event.platform)
        if before == identity or (before is not None and before.id != identity.id):
            return False  # another account of the same platform has to be disconnected first
        self._identities[event.platform, event.platform_id] = event.user_id
        self._set_platforms(event.user_id, broadcaster.platforms | {event.platform: identity})
        return True

    def _disconnect(self, event: control.PlatformDisconnected) -> bool:
        broadcaster = self._broadcasters.get(event.user_id)
        if broadcaster is None or event.platform not in broadcaster.platforms:
            return False
        del self._identities[event.platform, broadcaster.platforms[event.platform].id]
        rest = {
            platform: identity for platform, identity in broadcaster.platforms.items() if platform != event.platform
        }
        self._set_platforms(event.user_id, rest)
        return True

    def _spend(self, event: control.ConnectSpent) -> bool:
        if event.id in self._spent:
            return False
        self._spent[event.id] = event.by
        return True

    def _set_platforms(self, user_id: int, platforms: dict[str, Identity]) -> None:
        """The primary platform is the registered one while it is connected, else the first connected."""
        wanted = self._registered[user_id].primary_platform
        primary = wanted if wanted in platforms else next(iter(platforms), None)
        self._broadcasters[user_id] = replace(
            self._broadcasters[user_id], primary_platform=primary, platforms=platforms
        )

    def _issue_client(self, event: control.ClientIssued) -> bool:
        if event.client_id in self._clients or event.user_id not in self._broadcasters:
            return False
        secret = Secret(event.secret_hash, event.key_id, None)
        self._clients[event.client_id] = Client(
            event.client_id, event.user_id, event.scopes, (secret,), event.at, revoked=False
        )
        return True

    def _rotate(self, event: control.ClientSecretRotated) -> bool:
        """No earlier secret outlives the overlap: rotating without one shuts them all out."""
        client = self._clients.get(event.client_id)
        if client is None or client.revoked:
            return False
        until = event.previous_until
        earlier = (replace(secret, valid_until=min(secret.valid_until or until, until)) for secret in client.secrets)
        still_good = tuple(secret for secret in earlier if secret.valid_until and secret.valid_until > event.at)
        present = Secret(event.secret_hash, event.key_id, None)
        self._clients[event.client_id] = replace(client, secrets=(present, *still_good))
        return True

    def _revoke_client(self, client_id: str) -> bool:
        client = self._clients.get(client_id)
        if client is None or client.revoked:
            return False
        self._clients[client_id] = replace(client, revoked=True)
        return True

    def _issue_token(self, event: control.TokenIssued) -> bool:
        client = self._clients.get(event.client_id)
        if event.jti in self._tokens or client is None or client.revoked or client.user_id != event.user_id:
            return False
        self._tokens[event.jti] = Token(
            event.jti, event.client_id, event.user_id, event.scopes, event.at, event.expires_at, revoked=False
        )
        return True

    def _revoke_token(self, jti: str) -> bool:
        token = self._tokens.get(jti)
        if token is None or token.revoked:
            return False
        self._tokens[jti] = replace(token, revoked=True)
        return True

    # The log

    def apply_batch(self, batch: Batch) -> list[bool]:
        """Fold the records of a batch that lie at or after `position`, and move it on: reading twice changes nothing.

        Gives back, per record of the batch, whether it took effect now.
        """
        before = self.version
        effects = [
            position >= self.position and self.apply(value)
            for position, value in zip(batch.positions, batch.values, strict=True)
        ]
        self.position = max(self.position, batch.next_position)
        telemetry.DIRECTORY_POSITION.set(self.position)
        if self.version != before:
            for callback in self._callbacks:
                callback()
        return effects

    async def follow(self, log: EventLog) -> None:
        """Keep up with the control topic until cancelled. The room runs it as a task of its own.

        While the log is unavailable the directory stays as it is, and the reading is tried again, every 5 s at last.
        Raises LogClosed. Cancellation loses nothing.
        """
        self._log = log
        try:
            await self._follow(log)
        finally:
            self._log = None
            await asyncio.gather(*self._refreshes, return_exceptions=True)

    async def _follow(self, log: EventLog) -> None:
        pause_s = _RETRY_FIRST_S
        end: int | None = None
        while True:
            try:
                if end is None:
                    (end,) = await log.ends(CONTROL)
                if self.position >= end:
                    self._ready.set()
                batch = await log.read(CONTROL, 0, self.position, wait_s=_FOLLOW_WAIT_S)
            except LogUnavailable as error:
                telemetry.warn("directory.log_unavailable", reason=str(error), retry_in_s=pause_s)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _RETRY_LAST_S)
                continue
            pause_s = _RETRY_FIRST_S
            self.apply_batch(batch)

    async def ready(self) -> None:
        """Returns when everything that was on the topic when `follow` began has been applied."""
        await self._ready.wait()

    async def catch_up(self, log: EventLog) -> None:
        """Read the control topic to its present end. For a command; a room follows. Raises LogUnavailable."""
        (end,) = await log.ends(CONTROL)
        while self.position < end:
            self.apply_batch(await log.read(CONTROL, 0, self.position, wait_s=_FOLLOW_WAIT_S))

    async def refresh(self) -> bool:
        """Called on a miss: read the topic to its present end, so that what was added a moment ago is known.

        Single-flight and at most 20 times a second, whatever the number of callers: those who come while one runs
        share the next, since the one that runs may have looked before their record came. False when the log
        could not be read within a second: then what is known may not be all. Cancellation leaves the others' reading alone.
        """
        if self._log is None:
            return True
        if self._next_refresh is None:
            self._next_refresh = asyncio.create_task(self._refresh_in_turn(self._log))
            self._refreshes.add(self._next_refresh)
            self._next_refresh.add_done_callback(self._refreshes.discard)
        try:
            async with asyncio.timeout(REFRESH_WAIT_S):
                return await asyncio.shield(self._next_refresh)
        except TimeoutError:
            return False

    async def _refresh_in_turn(self, log: EventLog) -> bool:
        loop = asyncio.get_running_loop()
        async with self._one_refresh:
            await asyncio.sleep(max(0.0, self._last_refresh + 1 / REFRESHES_PER_S - loop.time()))
            self._last_refresh = loop.time()
            self._next_refresh = None
            try:
                async with asyncio.timeout(REFRESH_WAIT_S):
                    await self.catch_up(log)
            except (LogUnavailable, LogClosed, TimeoutError):
                return False
            return True
