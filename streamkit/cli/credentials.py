"""`streamkit credentials`: API clients and their secrets, which are shown once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

from schemas.control import ClientRevoked
from schemas.errors import BadSettings
from schemas.event import utc_now
from streamkit.addresses import announced_processes
from streamkit.cli.common import Failure, emit, json_option, run, table
from streamkit.cli.control import Accounts, opened_accounts, scope_list
from streamkit.credentials import other_key
from streamkit.directory import Client
from streamkit.issuing import issue_client, issue_token, parse_scopes, rotate_secret
from streamkit.keys import Keys, keys_of, load_secret_key
from streamkit.settings import Settings

DEFAULT_SCOPES = "read stream-info:write"
DEFAULT_EXPIRES_DAYS = 365
MAX_EXPIRES_DAYS = 36_500
MAX_OVERLAP_S = 90 * 86_400

expires_option = click.option(
    "--expires-days",
    type=click.IntRange(0, MAX_EXPIRES_DAYS),
    default=DEFAULT_EXPIRES_DAYS,
    show_default=True,
    help="How long the token is good; 0 gives an expired one.",
)


def scopes_of(_ctx: click.Context, _param: click.Parameter, text: str | None) -> tuple[str, ...] | None:
    """The scopes of an option's text; a usage error names the known ones."""
    try:
        return None if text is None else parse_scopes(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None


@click.group()
def credentials() -> None:
    """API clients: issue, list, rotate their secrets, revoke.

    \b
    Example:
      streamkit credentials issue --user-id 1
    """


@credentials.command("issue")
@click.option("--user-id", type=int, required=True, help="Whose data the client reads.")
@click.option(
    "--scopes",
    callback=scopes_of,
    default=DEFAULT_SCOPES,
    show_default=True,
    help="What it may do: read, stream-info:write, events:write.",
)
@expires_option
@json_option
def issue(user_id: int, scopes: tuple[str, ...], expires_days: int, as_json: bool) -> None:
    """Make a client with its secret and a first token; all three are shown this once.

    \b
    Example:
      streamkit credentials issue --user-id 1 --scopes "read events:write" --json
    """

    async def work(settings: Settings) -> dict[str, Any]:
        async with opened_accounts(settings) as accounts:
            accounts.broadcaster(user_id)
            keys = deployment_keys(settings, accounts)
            now = utc_now()
            client = issue_client(keys, user_id, scopes, at=now)
            token = issue_token(
                keys,
                user_id=user_id,
                client_id=client.record.client_id,
                scopes=scopes,
                lifetime=timedelta(days=expires_days),
                at=now,
            )
            if not all(await accounts.change(client.record, token.record)):
                raise Failure(f"Broadcaster {user_id} was removed meanwhile; nothing was issued.")
        return {
            "client_id": client.record.client_id,
            "client_secret": client.client_secret,
            "jwt": token.jwt,
            "jti": token.record.jti,
            "expires_at": token.record.expires_at.isoformat(),
            "scopes": list(scopes),
        }

    issued = run(work, as_json=as_json)
    text = (
        f"X-Client-Id: {issued['client_id']}\n"
        f"X-Client-Secret: {issued['client_secret']}\n"
        f"Authorization: Bearer {issued['jwt']}\n\n"
        f"Token {issued['jti']} is good until {issued['expires_at']} for: {scope_list(scopes)}.\n"
        "Keep the secret and the token now: they are not shown again."
    )
    emit(issued, text, as_json=as_json)


@credentials.command("list")
@json_option
def list_clients(as_json: bool) -> None:
    """Every client, revoked ones too; never a secret.

    \b
    Example:
      streamkit credentials list --json
    """

    async def work(settings: Settings) -> list[Client]:
        async with opened_accounts(settings) as accounts:
            return list(accounts.directory.clients())

    found = run(work, as_json=as_json)
    document = [
        {
            "client_id": client.client_id,
            "user_id": client.user_id,
            "scopes": list(client.scopes),
            "issued_at": client.issued_at.isoformat(timespec="seconds"),
            "revoked": client.revoked,
        }
        for client in found
    ]
    rows = [
        (c.client_id, c.user_id, scope_list(c.scopes), f"{c.issued_at:%Y-%m-%d}", "revoked" if c.revoked else "")
        for c in found
    ]
    emit(document, table(("CLIENT ID", "USER ID", "SCOPES", "ISSUED AT", ""), rows), as_json=as_json)


@credentials.command("rotate")
@click.option("--client-id", required=True)
@click.option(
    "--overlap-s",
    type=click.IntRange(0, MAX_OVERLAP_S),
    default=0,
    show_default=True,
    help="Seconds for which the secret before stays good too.",
)
@json_option
def rotate(client_id: str, overlap_s: int, as_json: bool) -> None:
    """Give a client a new secret, shown this once; its tokens stay good.

    \b
    Example:
      streamkit credentials rotate --client-id skc_0123456789abcdef01234567 --overlap-s 3600
    """

    async def work(settings: Settings) -> str:
        async with opened_accounts(settings) as accounts:
            accounts.live_client(client_id)
            keys = deployment_keys(settings, accounts)
            rotated = rotate_secret(keys, client_id, overlap=timedelta(seconds=overlap_s), at=utc_now())
            if not all(await accounts.change(rotated.record)):
                raise Failure(f"Client {client_id} was revoked meanwhile; its secret was not rotated.")
            return rotated.client_secret

    secret = run(work, as_json=as_json)
    before = f"stays good for {overlap_s} s" if overlap_s else "is no longer good"
    text = f"X-Client-Secret: {secret}\n\nThe secret before {before}. Keep this one now: it is not shown again."
    emit({"client_secret": secret}, text, as_json=as_json)


@credentials.command("revoke")
@click.option("--client-id", required=True)
@json_option
def revoke(client_id: str, as_json: bool) -> None:
    """Shut a client out, with all its tokens, everywhere within a second.

    \b
    Example:
      streamkit credentials revoke --client-id skc_0123456789abcdef01234567
    """

    async def work(settings: Settings) -> None:
        async with opened_accounts(settings) as accounts:
            if not accounts.client(client_id).revoked:
                await accounts.change(ClientRevoked(at=utc_now(), client_id=client_id))

    run(work, as_json=as_json)
    emit({}, f"Client {client_id} is revoked.", as_json=as_json)


def deployment_keys(settings: Settings, accounts: Accounts) -> Keys:
    """The keys to issue with; made, as `up` would, when the log is in the same folder: one on Kafka is shared by
    machines that have no folder in common, so there the key has to be given.

    Raises BadSettings when the services that run on this folder, or those that know the log's newest client, have
    another key: they would refuse whatever is issued here.
    """
    services = announced_processes(settings.data_dir)
    at_hand = settings.secret_key or load_secret_key(settings.data_dir)
    if at_hand is None and (services or any(not client.revoked for client in accounts.directory.clients())):
        raise BadSettings(
            "The services of this log have a secret key that this command lacks, and would refuse what is issued with "
            "another: set STREAMKIT_SECRET_KEY to theirs."
        )
    keys = keys_of(settings, create=settings.log_url == "sqlite:")
    for service in services:
        if keys.key_id not in service.key_ids:
            raise BadSettings(
                f"StreamKit at {service.url} has another secret key than this command, and would refuse what is issued "
                "here: set STREAMKIT_SECRET_KEY to its key."
            )
    other = other_key(accounts.directory, keys)
    if other is not None:
        raise BadSettings(
            f"The newest client on this log was made with the secret key {other}, and this command has {keys.key_id}: "
            "set STREAMKIT_SECRET_KEY to the key of the services. If the key was changed for good, set the old one as "
            "STREAMKIT_SECRET_KEY_PREVIOUS, or revoke the clients that were made with it."
        )
    return keys
