"""From tokens that a streamer gave to a connection: whose they are, whether it may be, the vault, the control topic.

The callback in the browser and the command line go through here. What may not live here: how the tokens came.
"""

from __future__ import annotations

from schemas.control import PlatformConnected, PlatformName
from schemas.errors import NotConnected, PlatformAway, PlatformRefused, PlatformTimeout, StreamkitError
from schemas.event import utc_now
from schemas.vault import HeldTokens, Place, erased
from streamkit import telemetry
from streamkit.directory import Directory
from streamkit.keys import Keys
from streamkit.log.events import control_record
from streamkit.log.protocol import CONTROL, EventLog
from streamkit.platforms.answers import Grant, Profile
from streamkit.platforms.kick import KickApi
from streamkit.platforms.tokens import held_tokens
from streamkit.platforms.twitch import TwitchApi
from streamkit.platforms.vault import Vault, new_record, unseal


class IdentityTaken(StreamkitError):
    """The platform account is connected to another broadcaster, or the broadcaster to another account."""


async def adopt(
    place: Place,
    grant: Grant,
    api: KickApi | TwitchApi,
    *,
    scopes: tuple[str, ...],
    keys: Keys,
    log: EventLog,
    directory: Directory,
    vault: Vault,
) -> Profile:
    """Connect the broadcaster with these tokens; `scopes` are those asked for, where the platform does not tell.

    Tokens that are not kept are not revoked either: the platform might end the account's other consent with them. Raises IdentityTaken, NotConnected (the broadcaster is gone),
    PlatformAway, PlatformTimeout, PlatformRefused, LogUnavailable.
    """
    user_id, platform = place
    now = utc_now()
    held = held_tokens(grant, "", now)
    profile = await api.own_user(grant.access_token)
    await directory.catch_up(log)
    _check_free(directory, place, profile)
    granted = scopes if grant.scopes is None else grant.scopes
    record = new_record(place, keys, held, platform_id=profile.id, scopes=granted, at=now)
    await vault.append(place, record)
    connected = PlatformConnected(
        at=now, user_id=user_id, platform=platform, platform_id=profile.id, username=profile.username
    )
    await log.append(CONTROL, [control_record(connected)])
    await directory.catch_up(log)
    try:
        _check_free(directory, place, profile)
    except StreamkitError:  # another's record lay before ours
        await vault.append(place, erased(record, utc_now()))
        raise
    telemetry.info("connect.connected", user_id=user_id, platform=platform)
    return profile


def _check_free(directory: Directory, place: Place, profile: Profile) -> None:
    user_id, platform = place
    named = platform.capitalize()
    broadcaster = directory.broadcaster(user_id)
    if broadcaster is None:
        raise NotConnected(f"Broadcaster {user_id} does not exist (any more), so nothing was connected.")
    holder = directory.broadcaster_of(platform, profile.id)
    if holder not in (None, user_id):
        raise IdentityTaken(
            f"The {named} account {profile.username} is connected to another broadcaster ({holder}); disconnect it there first."
        )
    present = broadcaster.platforms.get(platform)
    if present is not None and present.id != profile.id:
        raise IdentityTaken(
            f"Broadcaster {user_id} is connected to the {named} account {present.username}, not {profile.username}; "
            "sign in there with that account, or disconnect it first."
        )


async def forget(place: Place, api: KickApi | TwitchApi | None, *, keys: Keys | None, vault: Vault) -> None:
    """Revoke the tokens at the platform, best effort (without `api` or `keys` not at all), and erase them here.

    Raises LogUnavailable.
    """
    await vault.catch_up()
    record = vault.records.get(place)
    if record is None or record.state == "erased":
        return
    held = unseal(keys, place, record) if keys is not None else None
    if held is not None and api is not None:
        await revoke(api, held)
    await vault.append(place, erased(record, utc_now()))


async def revoke(api: KickApi | TwitchApi, held: HeldTokens) -> None:
    """End the tokens at the platform; what does not work is logged, no more."""
    platform: PlatformName = "kick" if isinstance(api, KickApi) else "twitch"
    try:
        if isinstance(api, TwitchApi):
            await api.revoke(held.access_token)
            return
        if held.refresh_token:
            await api.revoke(held.refresh_token, "refresh_token")
        await api.revoke(held.access_token, "access_token")
    except (PlatformAway, PlatformTimeout, PlatformRefused) as error:
        telemetry.warn("tokens.not_revoked", platform=platform, error=type(error).__name__)
