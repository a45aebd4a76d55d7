"""`streamkit accounts`: the broadcasters and their identities on the platforms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import click
import msgspec

from schemas.control import (
    BroadcasterRegistered,
    BroadcasterRemoved,
    PlatformConnected,
    PlatformDisconnected,
    PlatformName,
)
from schemas.event import utc_now
from schemas.vault import Place
from streamkit.cli.common import Failure, emit, json_option, run, table
from streamkit.cli.connect import connect, forget_tokens
from streamkit.cli.control import Accounts, opened_accounts
from streamkit.directory import Broadcaster, Identity
from streamkit.platforms.connections import Connection, connections_of
from streamkit.platforms.vault import Vault
from streamkit.settings import Settings

MAX_USER_ID = 2**53 - 1
"""JSON readers keep whole numbers exactly up to here."""

_NAMED = "streamkit.cli.accounts.named"
_IDENTITY = re.compile(r"(?P<username>[^\s:]{1,100}):(?P<id>[1-9][0-9]{0,19})")


class _IdentityType(click.ParamType[Identity]):
    """USERNAME:ID, as an Identity."""

    name = "identity"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Identity:
        if isinstance(value, Identity):
            return value
        found = _IDENTITY.fullmatch(str(value))
        if found is None:
            self.fail(f"{value!r} is not of the form NAME:ID with the platform's numeric user id.", param, ctx)
        return Identity(username=found["username"], id=found["id"])


def _note_order(ctx: click.Context, param: click.Parameter, value: Identity | None) -> Identity | None:
    """Click calls back in the order of the command line: the first platform named there is the default primary."""
    if value is not None:
        ctx.meta.setdefault(_NAMED, []).append(param.name)
    return value


@click.group()
def accounts() -> None:
    """Broadcasters and their identities on Kick and Twitch.

    \b
    Example:
      streamkit accounts add --name Streamer --kick streamer_name:84635624
    """


accounts.add_command(connect)


@accounts.command("add")
@click.option("--name", required=True, help="How the API names the broadcaster.")
@click.option("--user-id", type=click.IntRange(1, MAX_USER_ID), help="StreamKit's own id [default: the next free one].")
@click.option("--kick", type=_IdentityType(), callback=_note_order, metavar="USERNAME:ID", help="The Kick account.")
@click.option("--twitch", type=_IdentityType(), callback=_note_order, metavar="LOGIN:ID", help="The Twitch account.")
@click.option(
    "--primary", type=click.Choice(["kick", "twitch"]), help="The primary platform [default: the first named]."
)
@json_option
@click.pass_context
def add(
    ctx: click.Context,
    name: str,
    user_id: int | None,
    kick: Identity | None,
    twitch: Identity | None,
    primary: PlatformName | None,
    as_json: bool,
) -> None:
    """Register a broadcaster; exit 1 when the user id or an identity is taken.

    \b
    Webhooks arrive for the platforms named here; without any, only what a bot of its own pushes.
    Example:
      streamkit accounts add --name Streamer --kick streamer_name:84635624 --twitch streamer_tv:29958160
    """
    name = name.strip()
    if not 1 <= len(name) <= 200:
        raise click.UsageError("--name must have 1 to 200 characters.")
    given: dict[PlatformName, Identity | None] = {"kick": kick, "twitch": twitch}
    named: list[PlatformName] = ctx.meta.get(_NAMED, [])
    identities = {platform: identity for platform in named if (identity := given[platform])}
    if primary is not None and primary not in identities:
        raise click.UsageError(f"--primary {primary} needs --{primary} NAME:ID.")

    async def work(settings: Settings) -> Broadcaster:
        async with opened_accounts(settings, create=True) as accounts:
            return await add_broadcaster(accounts, name, user_id, identities, primary or next(iter(identities), None))

    added = run(work, as_json=as_json)
    platforms = _platforms(added, {}) or "no platform, so no webhook arrives for it, only what its bot pushes"
    text = f"Broadcaster {added.user_id} ({added.name}): {platforms}."
    hint = f"Next: streamkit credentials issue --user-id {added.user_id}"
    emit({"user_id": added.user_id}, f"{text}\n{hint}", as_json=as_json)


async def add_broadcaster(
    accounts: Accounts,
    name: str,
    user_id: int | None,
    identities: dict[PlatformName, Identity],
    primary: PlatformName | None,
) -> Broadcaster:
    """Register, and only when the registration stands connect: another's record may have taken the id meanwhile.

    Raises Failure when the user id or an identity is taken; what was registered for it is removed again.
    """
    for platform, identity in identities.items():
        _check_free(accounts, platform, identity)
    own = await _register(accounts, name, user_id, primary)
    connections = [
        PlatformConnected(
            at=utc_now(), user_id=own, platform=platform, platform_id=identity.id, username=identity.username
        )
        for platform, identity in identities.items()
    ]
    if connections and not all(await accounts.change(*connections)):
        await accounts.change(BroadcasterRemoved(at=utc_now(), user_id=own))
        for platform, identity in identities.items():
            _check_free(accounts, platform, identity)
        raise Failure(f"Broadcaster {own} was removed while it was added; nothing was kept.")
    return accounts.broadcaster(own)


async def _register(accounts: Accounts, name: str, user_id: int | None, primary: PlatformName | None) -> int:
    directory = accounts.directory
    while True:
        wanted = user_id or directory.highest_user_id + 1
        holder = directory.broadcaster(wanted)
        if holder is not None:
            raise Failure(f"User id {wanted} is taken by {holder.name}; leave --user-id out to get a free one.")
        if directory.was_removed(wanted):
            raise Failure(
                f"User id {wanted} is taken by a broadcaster who was removed and whose events are still on the log; "
                "leave --user-id out to get a free one."
            )
        record = BroadcasterRegistered(at=utc_now(), user_id=wanted, name=name, primary_platform=primary)
        if all(await accounts.change(record)):
            return wanted


def _check_free(accounts: Accounts, platform: PlatformName, identity: Identity) -> None:
    holder = accounts.directory.broadcaster_of(platform, identity.id)
    if holder is not None:
        name = accounts.broadcaster(holder).name
        raise Failure(f"The {platform.capitalize()} account {identity.id} is taken by broadcaster {holder} ({name}).")


@accounts.command("list")
@json_option
def list_accounts(as_json: bool) -> None:
    """Who there is, and which connections the streamers have to renew.

    \b
    Example:
      streamkit accounts list --json
    """

    async def work(settings: Settings) -> tuple[list[Broadcaster], dict[Place, Connection]]:
        async with opened_accounts(settings) as accounts:
            vault = Vault(accounts.log)
            await vault.catch_up()
            connections = connections_of(vault.records, accounts.directory)
            return list(accounts.directory.broadcasters()), connections

    found, connections = run(work, as_json=as_json)
    states = {(user_id, str(platform)): one.state for (user_id, platform), one in connections.items()}
    document = msgspec.to_builtins(found)
    for one in document:
        one["connections"] = {
            platform: state for (user_id, platform), state in states.items() if user_id == one["user_id"]
        }
    rows = [(b.user_id, b.name, b.primary_platform, _platforms(b, states)) for b in found]
    emit(document, table(("USER ID", "NAME", "PRIMARY", "PLATFORMS"), rows), as_json=as_json)


@accounts.command("disconnect")
@click.option("--user-id", type=int, required=True)
@click.option("--platform", type=click.Choice(["kick", "twitch"]), required=True)
@json_option
def disconnect(user_id: int, platform: PlatformName, as_json: bool) -> None:
    """Take a platform off a broadcaster; its events stay, its identity is free again.

    \b
    Its tokens are revoked at the platform, as far as it answers, and erased here.
    Example:
      streamkit accounts disconnect --user-id 1 --platform kick
    """

    async def work(settings: Settings) -> None:
        async with opened_accounts(settings) as accounts:
            stood = accounts.broadcaster(user_id)
            await forget_tokens(settings, accounts, user_id, (platform,))
            changed = platform in stood.platforms and all(
                await accounts.change(PlatformDisconnected(at=utc_now(), user_id=user_id, platform=platform))
            )
            if not changed:
                raise Failure(f"Broadcaster {user_id} ({stood.name}) is not connected to {platform.capitalize()}.")

    run(work, as_json=as_json)
    told = f"Broadcaster {user_id} is disconnected from {platform.capitalize()}."
    emit({}, told, as_json=as_json)


@accounts.command("remove")
@click.option("--user-id", type=int, required=True)
@json_option
def remove(user_id: int, as_json: bool) -> None:
    """Remove a broadcaster: its clients and tokens stop, its identities are free again.

    \b
    Its events stay on the log under its user id, which is never given to anyone else.
    Example:
      streamkit accounts remove --user-id 1
    """

    async def work(settings: Settings) -> None:
        async with opened_accounts(settings) as accounts:
            accounts.broadcaster(user_id)
            await forget_tokens(settings, accounts, user_id, ("kick", "twitch"))
            await accounts.change(BroadcasterRemoved(at=utc_now(), user_id=user_id))

    run(work, as_json=as_json)
    emit({}, f"Broadcaster {user_id} is removed.", as_json=as_json)


def _platforms(broadcaster: Broadcaster, states: Mapping[tuple[int, str], str]) -> str:
    """The identities; behind each whether it is connected by tokens, or has to be again."""
    words = {"connected": " (connected)", "needs_reconnect": " (needs reconnect)"}
    return ", ".join(
        f"{platform} {identity.username}:{identity.id}{words.get(states.get((broadcaster.user_id, platform), ''), '')}"
        for platform, identity in broadcaster.platforms.items()
    )
