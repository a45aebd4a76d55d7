"""`streamkit accounts connect`: an address where the streamer consents, or a token by hand; and how tokens go."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode, urlsplit

import click
from msgspec.structs import replace

from schemas.control import PlatformName
from schemas.errors import BadSettings, NotConnected, PlatformRefused
from schemas.event import utc_now
from streamkit.addresses import announced_processes
from streamkit.cli.common import Failure, emit, json_option, run
from streamkit.cli.control import Accounts, opened_accounts
from streamkit.cli.credentials import deployment_keys
from streamkit.keys import Keys, keys_of
from streamkit.platforms.adopt import IdentityTaken, adopt, forget
from streamkit.platforms.answers import Grant, GrantRefused
from streamkit.platforms.kick import KickApi
from streamkit.platforms.parts import configured_platforms, outgoing_of
from streamkit.platforms.scopes import scopes_asked
from streamkit.platforms.tickets import GOOD_FOR, issue_ticket, redirect_uri
from streamkit.platforms.twitch import TwitchApi
from streamkit.platforms.vault import Vault
from streamkit.settings import Settings

_DEFAULT_PORT = 8080
_MAX_TOKEN = 8192


@click.command("connect")
@click.option("--user-id", type=int, required=True, help="Whose account it is.")
@click.option("--platform", type=click.Choice(["kick", "twitch"]), required=True)
@click.option("--refresh-token-stdin", is_flag=True, help="Take a refresh token from stdin, without a browser.")
@click.option(
    "--access-token-stdin", is_flag=True, help="Take an access token of Twitch's from stdin; it is not renewed."
)
@json_option
def connect(
    user_id: int, platform: PlatformName, refresh_token_stdin: bool, access_token_stdin: bool, as_json: bool
) -> None:
    """Print the address where a streamer allows StreamKit to act; it works once, within 10 minutes.

    \b
    The same again when `accounts list` says that a connection needs it. A refresh token of the
    deployment's own app can be given on stdin instead, or an access token, which lasts until it
    ends.
    Example:
      streamkit accounts connect --user-id 1 --platform kick
    """
    if refresh_token_stdin and access_token_stdin:
        raise click.UsageError("--refresh-token-stdin and --access-token-stdin: one token comes on stdin.")
    if access_token_stdin and platform != "twitch":
        raise click.UsageError("--access-token-stdin is for Twitch; Kick gives a refresh token with each.")
    if refresh_token_stdin or access_token_stdin:
        _by_hand(user_id, platform, as_json, renewable=refresh_token_stdin)
        return

    async def work(settings: Settings) -> dict[str, Any]:
        _check_app(settings, platform)
        async with opened_accounts(settings) as accounts:
            accounts.broadcaster(user_id)
            now = utc_now()
            base = base_url(settings)
            ticket = issue_ticket(deployment_keys(settings, accounts), user_id, platform, base, now=now)
        return {
            "url": f"{base}/connect/{platform}?{urlencode({'ticket': ticket})}",
            "expires_at": (now + GOOD_FOR).isoformat(timespec="seconds"),
            "redirect_uri": redirect_uri(base, platform),
        }

    told = run(work, as_json=as_json)
    text = (
        f"{told['url']}\n\n"
        f"Whoever has the {platform.capitalize()} account opens it in a browser by {told['expires_at']}; it works once.\n"
        f"The app on {platform.capitalize()} needs this redirect address: {told['redirect_uri']}"
    )
    emit(told, text, as_json=as_json)


def _by_hand(user_id: int, platform: PlatformName, as_json: bool, *, renewable: bool) -> None:
    token = sys.stdin.read(_MAX_TOKEN).strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        kind = "refresh" if renewable else "access"
        raise click.UsageError(f"--{kind}-token-stdin needs one {kind} token on stdin.")

    async def work(settings: Settings) -> dict[str, Any]:
        _check_app(settings, platform)
        async with opened_accounts(settings) as accounts:
            accounts.broadcaster(user_id)
            return await adopt_by_hand(settings, accounts, user_id, platform, token, renewable=renewable)

    told = run(work, as_json=as_json)
    text = f"Broadcaster {user_id} is connected to the {platform.capitalize()} account {told['username']}."
    emit(told, text, as_json=as_json)


async def adopt_by_hand(
    settings: Settings,
    accounts: Accounts,
    user_id: int,
    platform: PlatformName,
    token: str,
    *,
    renewable: bool = True,
) -> dict[str, Any]:
    """Connect the broadcaster with a refresh token, or with an access token of Twitch's: what the command tells.

    Raises Failure, PlatformAway, PlatformTimeout, LogUnavailable.
    """
    keys = deployment_keys(settings, accounts)
    vault = Vault(accounts.log)
    await vault.catch_up()
    named = platform.capitalize()
    async with _opened_api(settings, platform) as api:
        try:
            profile = await adopt(
                (user_id, platform),
                await _granted(api, token, renewable=renewable),
                api,
                scopes=scopes_asked(platform, settings),
                keys=keys,
                log=accounts.log,
                directory=accounts.directory,
                vault=vault,
            )
        except GrantRefused as refused:
            kind = "refresh" if renewable else "access"
            raise Failure(f"{named} does not take this {kind} token ({refused.message}); get a new one.") from None
        except PlatformRefused as refused:
            raise Failure(f"{refused}. Check STREAMKIT_{platform.upper()}_CLIENT_ID and _CLIENT_SECRET.") from None
        except (IdentityTaken, NotConnected) as error:
            raise Failure(str(error)) from None
    record = vault.records[user_id, platform]
    return {
        "user_id": user_id,
        "platform": platform,
        "platform_id": profile.id,
        "username": profile.username,
        "scopes": list(record.scopes),
    }


async def _granted(api: KickApi | TwitchApi, token: str, *, renewable: bool) -> Grant:
    if isinstance(api, TwitchApi) and not renewable:
        return await api.as_it_is(token)
    grant = await api.refresh(token)
    return replace(grant, refresh_token=grant.refresh_token or token)


def base_url(settings: Settings) -> str:
    """Where a streamer's browser finds the ingest room: STREAMKIT_PUBLIC_URL, else the one on this machine.

    By name, not by number: platforms allow plain http for `localhost` only.
    """
    if settings.public_url is not None:
        return settings.public_url
    found = next((p.url for p in announced_processes(settings.data_dir) if "ingest" in p.rooms), None)
    port = settings.port or _DEFAULT_PORT if found is None else urlsplit(found).port
    return f"http://localhost:{port}"


async def forget_tokens(settings: Settings, accounts: Accounts, user_id: int, platforms: Iterable[str]) -> None:
    """Revoke a broadcaster's tokens where the secret key and the app are at hand and the platform answers, and erase
    them in any case. Raises LogUnavailable."""
    vault = Vault(accounts.log)
    await vault.catch_up()
    try:
        keys: Keys | None = keys_of(settings, create=False)
    except BadSettings:
        keys = None
    for user, platform in list(vault.records):
        if user == user_id and platform in platforms:
            async with _opened_api(settings, platform) as api:
                known = platform in configured_platforms(settings)
                await forget((user, platform), api if known else None, keys=keys, vault=vault)


def _check_app(settings: Settings, platform: PlatformName) -> None:
    if platform not in configured_platforms(settings):
        name = platform.upper()
        raise BadSettings(
            f"There is no {platform.capitalize()} app: set STREAMKIT_{name}_CLIENT_ID and STREAMKIT_{name}_CLIENT_SECRET, "
            "here and where ingest and api run."
        )


@asynccontextmanager
async def _opened_api(settings: Settings, platform: PlatformName) -> AsyncIterator[KickApi | TwitchApi]:
    outgoing = outgoing_of(settings)
    try:
        yield KickApi(outgoing, settings) if platform == "kick" else TwitchApi(outgoing, settings)
    finally:
        await outgoing.close()
