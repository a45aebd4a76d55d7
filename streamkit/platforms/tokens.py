"""The tokens to call a platform with: a broadcaster's own, and the app's; renewed in time, once, and kept in the vault.

A renewal happens once at a time for each connection: in this process by a task that all callers share, between
processes by a lock of the soft state, and where there is none, whoever is refused looks into the vault for what another
process has got meanwhile before it believes the refusal. New tokens are durable before they are used.
What may not live here: what they are used for.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, get_args

from msgspec import Struct
from msgspec.structs import replace

from schemas.control import PlatformName
from schemas.errors import NeedsReconnect, NotConnected, PlatformRefused
from schemas.event import utc_now
from schemas.vault import HeldTokens, Place, VaultRecord, vault_key
from streamkit import telemetry
from streamkit.directory import Directory
from streamkit.keys import Keys
from streamkit.platforms.answers import Grant, GrantRefused
from streamkit.platforms.connections import Connection, State, connections_of
from streamkit.platforms.kick import KickApi
from streamkit.platforms.twitch import TwitchApi
from streamkit.platforms.vault import Vault, next_record, seal, unseal

if TYPE_CHECKING:
    from streamkit.redis import SoftState

FRESH = timedelta(seconds=60)
"""A token that ends sooner is renewed first."""

LOCK_S = 15.0
"""Longer than a renewal may take: one call of 5 s, and its record."""

REFUSED_LOOK_S = 2.0
"""So long another process has to bring what it got, before a refusal is believed."""

HOLD_S = 30
"""After a refusal that is not about the tokens (a wrong client secret, too many calls) nothing is asked for so long."""

CLOSE_S = 4.0
_MAX_EXPIRES_S = 400 * 86_400


class _Held(Struct, frozen=True):
    record: VaultRecord
    tokens: HeldTokens


class Tokens:
    """One per process and event loop. `configured` names the platforms on which the deployment has an app.

    The caller starts it (`start`, then `follow` as a task) and closes it.
    """

    def __init__(
        self,
        vault: Vault,
        directory: Directory,
        soft: SoftState,
        keys: Keys,
        *,
        kick: KickApi,
        twitch: TwitchApi,
        configured: frozenset[PlatformName],
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.vault = vault
        self._directory = directory
        self._soft = soft
        self._keys = keys
        self._apis: dict[PlatformName, KickApi | TwitchApi] = {"kick": kick, "twitch": twitch}
        self._configured = configured
        self._now = now
        self._connections: dict[Place, Connection] = {}
        self._callbacks: list[Callable[[], None]] = []
        self._renewals: dict[Place, asyncio.Task[str]] = {}
        self._unsaved: dict[Place, _Held] = {}
        self._held_off: dict[Place | PlatformName, tuple[float, PlatformRefused]] = {}
        self._app_tokens: dict[PlatformName, HeldTokens] = {}
        self._app_locks: dict[PlatformName, asyncio.Lock] = {name: asyncio.Lock() for name in self._apis}
        vault.on_change(self._look)
        directory.on_change(self._look)

    async def start(self) -> None:
        """Read the vault to its end. Raises LogUnavailable, LogClosed."""
        await self.vault.catch_up()
        self._look()

    async def close(self) -> None:
        """Let renewals under way come to their end (what a platform gave must be kept), within 4 s; idempotent."""
        under_way = list(self._renewals.values())
        if under_way:
            await asyncio.wait(under_way, timeout=CLOSE_S)
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    def configured(self, platform: PlatformName) -> bool:
        """Whether the deployment has an app on the platform; without one nothing is done there."""
        return platform in self._configured

    def connections(self) -> Mapping[Place, Connection]:
        """All that are connected by tokens, whatever their state. Cheap."""
        return self._connections

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call `callback` (on the event loop, must not block) after `connections()` changed in who or in state."""
        self._callbacks.append(callback)

    async def user_token(self, user_id: int, platform: PlatformName) -> str:
        """The broadcaster's access token, good for the next minute.

        Raises NotConnected, NeedsReconnect, PlatformAway, PlatformTimeout, PlatformRefused, LogUnavailable. May wait for
        the platform and for another process that renews. Cancellation leaves a renewal to its end.
        """
        place = (user_id, platform)
        tokens = self._held(place).tokens
        if self._is_good(place, tokens):
            return tokens.access_token
        return await self._renewed(place, None)

    async def refreshed(self, user_id: int, platform: PlatformName, *, refused: str) -> str:
        """Another access token than `refused`, which the platform answered 401 to. Use it once, and do not ask again for
        the same request. Raises as `user_token`."""
        place = (user_id, platform)
        tokens = self._held(place).tokens
        if tokens.access_token != refused and self._is_good(place, tokens):
            return tokens.access_token
        return await self._renewed(place, refused)

    async def app_token(self, platform: PlatformName, *, refused: str | None = None) -> str:
        """The app's access token; another one than `refused`, which the platform answered 401 to.

        Raises NotConnected without an app, PlatformAway, PlatformTimeout, PlatformRefused.
        """
        self._check_configured(platform)
        async with self._app_locks[platform]:
            found = self._app_tokens.get(platform)
            if found is None or found.access_token == refused or found.expires_at <= self._now() + FRESH:
                grant = await self._asked(platform, self._apis[platform].app_token)
                found = self._app_tokens[platform] = held_tokens(grant, "", self._now())
            return found.access_token

    async def reseal(self) -> None:
        """Put what the previous secret key sealed under the present one. For one room, at its start.

        Raises LogUnavailable, LogClosed.
        """
        for place, record in list(self.vault.records.items()):
            if record.state == "erased" or record.key_id == self._keys.key_id:
                continue
            lock = f"renew:{vault_key(place)}"
            if not await self._soft.acquire(lock, LOCK_S):
                continue  # whoever has it seals under the present key
            try:
                await self.vault.catch_up()
                tokens = unseal(self._keys, place, record)
                if tokens is not None and self.vault.records.get(place) == record:
                    await self.vault.append(place, seal(self._keys, place, record, tokens))
                    telemetry.info("vault.resealed", user_id=place[0], platform=place[1])
            finally:
                await self._soft.release(lock)

    def _look(self) -> None:
        """Work out who is connected, and tell when that is news."""
        found = connections_of(self.vault.records, self._directory)
        for place, connection in found.items():
            record = self.vault.records[place]
            if unseal(self._keys, place, record) is None:
                if place not in self._connections:
                    telemetry.warn("vault.unreadable", user_id=place[0], platform=place[1], key_id=record.key_id)
                found[place] = replace(connection, state="needs_reconnect")
        for platform in self._apis:
            for state in get_args(State):
                number = sum(one.platform == platform and one.state == state for one in found.values())
                telemetry.CONNECTIONS.labels(platform, state).set(number)
        before, self._connections = self._connections, found
        if {p: _told(c) for p, c in before.items()} != {p: _told(c) for p, c in found.items()}:
            for callback in self._callbacks:
                callback()

    def _held(self, place: Place) -> _Held:
        """The record that stands at the place, and its tokens. Raises NotConnected, NeedsReconnect."""
        user_id, platform = place
        self._check_configured(platform)
        connection = self._connections.get(place)
        if connection is None:
            raise NotConnected(
                f"Broadcaster {user_id} is not connected to {platform.capitalize()} with tokens; "
                f"`streamkit accounts connect --user-id {user_id} --platform {platform}` gives an address to consent at."
            )
        record = self.vault.records[place]
        tokens = unseal(self._keys, place, record)
        if connection.state == "needs_reconnect" or tokens is None:
            raise NeedsReconnect(
                f"{platform.capitalize()} takes the tokens of broadcaster {user_id} no more; "
                f"`streamkit accounts connect --user-id {user_id} --platform {platform}` gives an address to consent again."
            )
        return _Held(record, tokens)

    def _check_configured(self, platform: PlatformName) -> None:
        if platform not in self._configured:
            name = platform.upper()
            raise NotConnected(
                f"There is no {platform.capitalize()} app: set STREAMKIT_{name}_CLIENT_ID and STREAMKIT_{name}_CLIENT_SECRET."
            )

    def _is_good(self, place: Place, tokens: HeldTokens) -> bool:
        return tokens.expires_at > self._now() + FRESH and place not in self._unsaved

    async def _renewed(self, place: Place, refused: str | None) -> str:
        """Share the renewal of the place, or begin one."""
        task = self._renewals.get(place)
        if task is None:
            task = asyncio.create_task(self._renew(place, refused), name=f"renew {vault_key(place)}")
            self._renewals[place] = task
            task.add_done_callback(lambda done: self._renewal_ended(place, done))
        return await asyncio.shield(task)

    def _renewal_ended(self, place: Place, task: asyncio.Task[str]) -> None:
        self._renewals.pop(place, None)
        if not task.cancelled():
            task.exception()  # looked at here: whoever waited for it may be gone by now

    async def _renew(self, place: Place, refused: str | None) -> str:
        lock = f"renew:{vault_key(place)}"
        for _ in range(int(LOCK_S)):
            if await self._soft.acquire(lock, LOCK_S):
                break
            await self.vault.changed(place, self.vault.records.get(place), 1.0)
        try:
            while True:
                await self.vault.catch_up()
                held = self._held(place)
                if held.tokens.access_token != refused and self._is_good(place, held.tokens):
                    return held.tokens.access_token
                token = await self._renew_from(place, held)
                if token is not None:
                    return token
        finally:
            await self._soft.release(lock)

    async def _renew_from(self, place: Place, held: _Held) -> str | None:
        """New tokens from these, durable; None when to look again at what stands there."""
        if not held.tokens.refresh_token:  # an access token by hand: it was good until now
            await self._give_up(place, held, None)
            return None
        got = self._unsaved.get(place)
        if got is None or got.record.granted_at != held.record.granted_at:
            try:
                grant = await self._asked(place, lambda: self._apis[place[1]].refresh(held.tokens.refresh_token))
            except GrantRefused as refusal:
                if not await self.vault.changed(place, held.record, REFUSED_LOOK_S):
                    await self._give_up(place, held, refusal.status)
                return None
            record = replace(held.record, scopes=grant.scopes or held.record.scopes)
            got = _Held(record, held_tokens(grant, held.tokens.refresh_token, self._now()))
        return await self._save(place, got)

    async def _save(self, place: Place, got: _Held) -> str | None:
        """Until the log has it, it is kept in memory for the next caller: the old refresh token may be good no more."""
        self._unsaved[place] = got
        await self.vault.catch_up()
        stands = self.vault.records.get(place)
        is_same_grant = stands is not None and stands.state != "erased" and stands.granted_at == got.record.granted_at
        if is_same_grant:
            record = next_record(place, self._keys, got.record, got.tokens, state="connected", at=self._now())
            await self.vault.append(place, record)
            telemetry.info("tokens.renewed", user_id=place[0], platform=place[1])
        del self._unsaved[place]
        return got.tokens.access_token if is_same_grant else None

    async def _give_up(self, place: Place, held: _Held, status: int | None) -> None:
        record = next_record(place, self._keys, held.record, held.tokens, state="needs_reconnect", at=self._now())
        await self.vault.append(place, record)
        telemetry.warn("tokens.refused", user_id=place[0], platform=place[1], status=status)

    async def _asked(self, who: Place | PlatformName, ask: Callable[[], Coroutine[Any, Any, Grant]]) -> Grant:
        """Ask for tokens, unless the platform refused a moment ago for a reason that is not the tokens'."""
        until_s, error = self._held_off.get(who, (0.0, None))
        left_s = until_s - time.monotonic()
        if error is not None and left_s > 0:
            error.retry_after_s = math.ceil(left_s)
            raise error
        try:
            return await ask()
        except GrantRefused:
            raise
        except PlatformRefused as refusal:
            refusal.retry_after_s = refusal.retry_after_s or HOLD_S
            self._held_off[who] = time.monotonic() + refusal.retry_after_s, refusal
            telemetry.warn("tokens.not_given", who=who, status=refusal.status)
            raise


def held_tokens(grant: Grant, refresh_token: str, now: datetime) -> HeldTokens:
    """What a grant of `now` is kept as; `refresh_token` stays good where the platform gave no new one."""
    expires_at = now + timedelta(seconds=max(0, min(grant.expires_in_s, _MAX_EXPIRES_S)))
    return HeldTokens(grant.access_token, grant.refresh_token or refresh_token, expires_at)


def _told(connection: Connection) -> Connection:
    """What is news when it changes: not that tokens were renewed."""
    return replace(connection, changed_at=connection.granted_at)
