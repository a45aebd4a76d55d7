"""What tokens need while nobody uses them: Twitch's are validated hourly, and none lies so long that it dies.

One room of a deployment does it, in the background. What may not live here: what a refusal to renew means (tokens.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from schemas.errors import (
    LogUnavailable,
    NotConnected,
    PlatformAway,
    PlatformRefused,
    PlatformTimeout,
)
from schemas.event import utc_now
from schemas.vault import Place, vault_key
from streamkit import telemetry
from streamkit.platforms.connections import Connection
from streamkit.platforms.tokens import Tokens
from streamkit.platforms.twitch import TwitchApi

if TYPE_CHECKING:
    from streamkit.redis import SoftState

VALIDATE_EVERY = timedelta(minutes=55)
"""Twitch wants every token validated at start and then hourly: https://dev.twitch.tv/docs/authentication/validate-tokens/."""

RENEW_AFTER = timedelta(days=7)
"""A refresh token of Kick's dies when it was not used for about 30 days."""

ROUND_S = 60.0


class Upkeep:
    """Looks through the connections once a minute, one after the other."""

    def __init__(
        self, tokens: Tokens, twitch: TwitchApi, soft: SoftState, *, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._tokens = tokens
        self._twitch = twitch
        self._soft = soft
        self._now = now
        self._validated: dict[Place, datetime] = {}

    async def run(self) -> None:
        """Until cancelled. Raises LogClosed."""
        resealed = False
        while True:
            if not resealed:
                try:
                    await self._tokens.reseal()
                    resealed = True
                except LogUnavailable as away:
                    telemetry.warn("vault.log_unavailable", reason=str(away), retry_in_s=ROUND_S)
            await self.round()
            await asyncio.sleep(ROUND_S)

    async def round(self) -> None:
        """Look after every connection whose time has come. A platform that is away, or refuses, is tried again later."""
        for place, connection in list(self._tokens.connections().items()):
            if connection.state != "connected" or not self._tokens.configured(connection.platform):
                continue
            try:
                await self._look_after(place, connection)
            except (NotConnected, PlatformAway, PlatformTimeout, PlatformRefused, LogUnavailable) as error:
                telemetry.warn("tokens.upkeep_failed", user_id=place[0], platform=place[1], error=type(error).__name__)

    async def _look_after(self, place: Place, connection: Connection) -> None:
        user_id, platform = place
        if platform == "kick" and self._now() - connection.changed_at > RENEW_AFTER:
            token = await self._tokens.user_token(user_id, platform)
            await self._tokens.refreshed(user_id, platform, refused=token)
        if platform == "twitch":
            await self._validate(place)

    async def _validate(self, place: Place) -> None:
        before = self._validated.get(place)
        if before is not None and self._now() - before < VALIDATE_EVERY:
            return
        lock = f"validated:{vault_key(place)}"
        if not await self._soft.acquire(lock, VALIDATE_EVERY.total_seconds()):
            return  # another process did
        try:
            token = await self._tokens.user_token(*place)
            try:
                await self._twitch.validate(token)
            except PlatformRefused as refused:
                if refused.status != 401:
                    raise
                await self._tokens.refreshed(*place, refused=token)
        except BaseException:
            await self._soft.release(lock)
            raise
        self._validated[place] = self._now()
