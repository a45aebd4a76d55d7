"""`streamkit tokens`: the JWTs of a client."""

from __future__ import annotations

from datetime import timedelta

import click

from schemas.control import TokenRevoked
from schemas.event import utc_now
from streamkit.cli.common import Failure, emit, json_option, run, table
from streamkit.cli.control import opened_accounts, scope_list
from streamkit.cli.credentials import deployment_keys, expires_option, scopes_of
from streamkit.directory import Token
from streamkit.issuing import NewToken, issue_token
from streamkit.settings import Settings


@click.group()
def tokens() -> None:
    """The JWTs of a client: issue, list, revoke.

    \b
    Example:
      streamkit tokens issue --client-id skc_0123456789abcdef01234567
    """


@tokens.command("issue")
@click.option("--client-id", required=True)
@click.option("--scopes", callback=scopes_of, help="What the token may do [default: all that its client may].")
@expires_option
@json_option
def issue(client_id: str, scopes: tuple[str, ...] | None, expires_days: int, as_json: bool) -> None:
    """Make another token of a client, shown this once.

    \b
    Example:
      streamkit tokens issue --client-id skc_0123456789abcdef01234567 --scopes read --expires-days 30
    """

    async def work(settings: Settings) -> NewToken:
        async with opened_accounts(settings) as accounts:
            client = accounts.live_client(client_id)
            beyond = set(scopes or ()) - set(client.scopes)
            if beyond:
                raise Failure(
                    f"Client {client_id} may {scope_list(client.scopes)}, not {scope_list(sorted(beyond))}; "
                    "`streamkit credentials issue` makes a client that may."
                )
            token = issue_token(
                deployment_keys(settings, accounts),
                user_id=client.user_id,
                client_id=client_id,
                scopes=scopes or client.scopes,
                lifetime=timedelta(days=expires_days),
                at=utc_now(),
            )
            if not all(await accounts.change(token.record)):
                raise Failure(f"Client {client_id} was revoked meanwhile; nothing was issued.")
            return token

    token = run(work, as_json=as_json)
    expires_at = token.record.expires_at.isoformat()
    text = (
        f"Authorization: Bearer {token.jwt}\n\n"
        f"Token {token.record.jti} is good until {expires_at} for: {scope_list(token.record.scopes)}.\n"
        "Keep it now: it is not shown again."
    )
    emit({"jwt": token.jwt, "jti": token.record.jti, "expires_at": expires_at}, text, as_json=as_json)


@tokens.command("list")
@json_option
def list_tokens(as_json: bool) -> None:
    """Every token, revoked and expired ones too; never a JWT.

    \b
    Example:
      streamkit tokens list --json
    """

    async def work(settings: Settings) -> list[tuple[Token, bool]]:
        async with opened_accounts(settings) as accounts:
            found = accounts.directory.tokens()
            return [(token, token.revoked or accounts.client(token.client_id).revoked) for token in found]

    found = run(work, as_json=as_json)
    document = [
        {
            "jti": token.jti,
            "client_id": token.client_id,
            "user_id": token.user_id,
            "scopes": list(token.scopes),
            "issued_at": token.issued_at.isoformat(timespec="seconds"),
            "expires_at": token.expires_at.isoformat(),
            "revoked": gone,
        }
        for token, gone in found
    ]
    rows = [
        (t.jti, t.client_id, t.user_id, scope_list(t.scopes), f"{t.expires_at:%Y-%m-%d}", "revoked" if gone else "")
        for t, gone in found
    ]
    emit(document, table(("TOKEN", "CLIENT ID", "USER ID", "SCOPES", "EXPIRES AT", ""), rows), as_json=as_json)


@tokens.command("revoke")
@click.option("--jti", required=True, help="The token's id, as `tokens list` shows it.")
@json_option
def revoke(jti: str, as_json: bool) -> None:
    """Shut a token out, everywhere within a second.

    \b
    Example:
      streamkit tokens revoke --jti skt_0123456789abcdef0123456789abcdef
    """

    async def work(settings: Settings) -> None:
        async with opened_accounts(settings) as accounts:
            token = accounts.directory.token(jti)
            if token is None:
                raise Failure(f"There is no token {jti}; `streamkit tokens list` shows them.")
            if not token.revoked:
                await accounts.change(TokenRevoked(at=utc_now(), jti=jti))

    run(work, as_json=as_json)
    emit({}, f"Token {jti} is revoked.", as_json=as_json)
