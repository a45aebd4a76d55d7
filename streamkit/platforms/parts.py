"""What a process talks to the platforms with, put together and started: one of each, for all its rooms.

What may not live here: anything that knows a room.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

from msgspec import Struct

from schemas.control import PlatformName
from schemas.errors import LogUnavailable
from streamkit.directory import Directory
from streamkit.keys import Keys
from streamkit.lifecycle import Watch
from streamkit.log.protocol import EventLog
from streamkit.platforms.http import Outgoing
from streamkit.platforms.kick import KickApi
from streamkit.platforms.tokens import Tokens
from streamkit.platforms.twitch import TwitchApi
from streamkit.platforms.vault import Vault
from streamkit.settings import Settings

if TYPE_CHECKING:
    from streamkit.redis import SoftState


class Platforms(Struct, frozen=True):
    """Both platforms, and the tokens to call them with."""

    outgoing: Outgoing
    kick: KickApi
    twitch: TwitchApi
    tokens: Tokens


def configured_platforms(settings: Settings) -> frozenset[PlatformName]:
    """Where the deployment has an app: its client id and secret are set."""
    pairs: dict[PlatformName, tuple[str | None, str | None]] = {
        "kick": (settings.kick_client_id, settings.kick_client_secret),
        "twitch": (settings.twitch_client_id, settings.twitch_client_secret),
    }
    return frozenset(platform for platform, pair in pairs.items() if all(pair))


def outgoing_of(settings: Settings) -> Outgoing:
    """Calls to the hosts that the settings name, and to no others."""
    twitch = settings.twitch_api_url, settings.twitch_auth_url, settings.twitch_eventsub_url or settings.twitch_api_url
    return Outgoing((settings.kick_api_url, settings.kick_auth_url, *twitch))


def platforms_of(settings: Settings, keys: Keys, log: EventLog, directory: Directory, soft: SoftState) -> Platforms:
    """All of it, not started."""
    outgoing, configured = outgoing_of(settings), configured_platforms(settings)
    kick, twitch = KickApi(outgoing, settings), TwitchApi(outgoing, settings)
    tokens = Tokens(Vault(log), directory, soft, keys, kick=kick, twitch=twitch, configured=configured)
    return Platforms(outgoing, kick, twitch, tokens)


async def open_platforms(
    stack: AsyncExitStack,
    settings: Settings,
    keys: Keys,
    log: EventLog,
    directory: Directory,
    soft: SoftState,
    watch: Watch,
) -> Platforms:
    """Open them, to be closed with `stack`. A log that is away is read when it is back. Raises LogClosed."""
    platforms = platforms_of(settings, keys, log, directory, soft)
    stack.push_async_callback(platforms.outgoing.close)
    with suppress(LogUnavailable):  # `follow` says so, and reads it later
        await platforms.tokens.start()
    watch.start(stack, "vault", platforms.tokens.vault.follow())
    stack.push_async_callback(platforms.tokens.close)
    return platforms
