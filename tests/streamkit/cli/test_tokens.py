"""`streamkit tokens`: further JWTs of a client, and their end."""

from __future__ import annotations

from pathlib import Path

from streamkit.cli.tokens import tokens
from tests.streamkit.cli.running import Ran, answer, invoke, issue


def run(where: Path, *arguments: str) -> Ran:
    return invoke(tokens, *arguments, folder=where)


def test_issue_list_revoke(folder: Path) -> None:
    issued = issue(folder)
    more = run(folder, "issue", "--client-id", issued["client_id"], "--json").document
    assert set(more) == {"jwt", "jti", "expires_at"}
    assert answer(folder, issued | more) == answer(folder, issued) == "ok"
    assert run(folder, "revoke", "--jti", issued["jti"], "--json").document == {}
    assert run(folder, "revoke", "--jti", issued["jti"]).exit_code == 0
    assert answer(folder, issued) == "revoked_jwt"
    assert answer(folder, issued | more) == "ok"
    listed = run(folder, "list", "--json")
    assert [(token["jti"], token["revoked"]) for token in listed.document] == [
        (issued["jti"], True),
        (more["jti"], False),
    ]
    assert "eyJ" not in listed.out + run(folder, "list").out
    assert more["jti"] in run(folder, "list").out


def test_scopes_within_the_clients(folder: Path) -> None:
    issued = issue(folder)
    less = run(folder, "issue", "--client-id", issued["client_id"], "--scopes", "read", "--json").document
    assert answer(folder, issued | less) == "ok"
    assert answer(folder, issued | less, "stream-info:write") == "insufficient_scope"
    beyond = run(folder, "issue", "--client-id", issued["client_id"], "--scopes", "read events:write")
    assert beyond.exit_code == 1
    assert "not events:write" in beyond.err
    assert run(folder, "issue", "--client-id", issued["client_id"], "--scopes", "x").exit_code == 2


def test_the_days(folder: Path) -> None:
    issued = issue(folder)
    expired = run(folder, "issue", "--client-id", issued["client_id"], "--expires-days", "0", "--json").document
    assert answer(folder, issued | expired) == "expired_jwt"


def test_what_does_not_exist(folder: Path) -> None:
    for arguments in (("issue", "--client-id", "skc_none"), ("revoke", "--jti", "skt_none")):
        ran = run(folder, *arguments)
        assert ran.exit_code == 1
        assert "There is no" in ran.err


def test_help_has_an_example_everywhere() -> None:
    for name, command in tokens.commands.items():
        assert f"streamkit tokens {name}" in (command.help or "")
