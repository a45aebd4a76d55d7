"""`streamkit credentials`: what is issued opens the API's door, and what is revoked does not."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from schemas.errors import BadSettings
from streamkit.addresses import Process, announced
from streamkit.cli.accounts import accounts
from streamkit.cli.control import Accounts
from streamkit.cli.credentials import credentials, deployment_keys
from streamkit.cli.tokens import tokens
from streamkit.directory import Directory
from streamkit.keys import load_or_create_secret_key, load_secret_key
from streamkit.log.memory import MemoryLog
from streamkit.settings import load_settings
from tests.streamkit.cli.running import Ran, answer, invoke, issue


def run(folder: Path, *arguments: str, **settings: str) -> Ran:
    return invoke(credentials, *arguments, folder=folder, **settings)


def test_issue_opens_the_door(folder: Path) -> None:
    issued = issue(folder)
    assert set(issued) == {"client_id", "client_secret", "jwt", "jti", "expires_at", "scopes"}
    assert issued["scopes"] == ["read", "stream-info:write"]
    assert issued["expires_at"].endswith("+00:00")
    assert answer(folder, issued) == answer(folder, issued, "stream-info:write") == "ok"
    assert answer(folder, issued, "events:write") == "insufficient_scope"
    assert answer(folder, issued | {"client_secret": "sks_wrong"}) == "invalid_credentials"


def test_scopes_and_days(folder: Path) -> None:
    assert answer(folder, issue(folder, "--scopes", "events:write"), "events:write") == "ok"
    assert answer(folder, issue(folder, "--expires-days", "0")) == "expired_jwt"


def test_the_person_sees_the_three_headers(folder: Path) -> None:
    text = run(folder, "issue", "--user-id", "1").out
    assert all(header in text for header in ("X-Client-Id: skc_", "X-Client-Secret: sks_", "Authorization: Bearer ey"))


def test_no_clear_secret_is_kept_anywhere(folder: Path) -> None:
    issued = issue(folder)
    with closing(sqlite3.connect(folder / "data" / "log.sqlite")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    files = b"".join(file.read_bytes() for file in (folder / "data").iterdir())
    assert issued["client_id"].encode() in files
    assert issued["client_secret"].encode() not in files
    assert issued["jwt"].split(".")[2].encode() not in files


def test_a_key_is_made_in_the_folder_of_the_log_and_used_again(folder: Path) -> None:
    assert load_secret_key(folder / "data") is None
    issue(folder)
    key = load_secret_key(folder / "data")
    assert key is not None
    issue(folder)
    assert load_secret_key(folder / "data") == key


async def test_for_a_log_on_kafka_the_key_has_to_be_given(tmp_path: Path) -> None:
    settings = load_settings({"STREAMKIT_LOG_URL": "kafka://127.0.0.1:9"}, tmp_path)
    own = Accounts(MemoryLog(), Directory())
    with pytest.raises(BadSettings, match="STREAMKIT_SECRET_KEY is not set"):
        deployment_keys(settings, own)
    load_or_create_secret_key(settings.data_dir)
    assert deployment_keys(settings, own).key_id
    await own.log.close()


OTHER_KEY = "B" * 43 + "="


def test_nothing_is_issued_with_another_key_than_the_newest_client_has(folder: Path) -> None:
    first = issue(folder)
    other = {"STREAMKIT_SECRET_KEY": OTHER_KEY}
    for arguments in (("issue", "--user-id", "1"), ("rotate", "--client-id", first["client_id"])):
        ran = run(folder, *arguments, **other)
        assert (ran.exit_code, ran.out) == (2, "")
        assert "The newest client on this log was made with the secret key skk_" in ran.err
    key = (folder / "data" / "secret_key").read_text().strip()
    assert run(folder, "issue", "--user-id", "1", **other, STREAMKIT_SECRET_KEY_PREVIOUS=key).exit_code == 0
    assert "newest client" in run(folder, "issue", "--user-id", "1").err, "the old key is no longer the deployment's"


def test_revoked_clients_hold_nobody_to_their_key(folder: Path) -> None:
    run(folder, "revoke", "--client-id", issue(folder)["client_id"])
    assert run(folder, "issue", "--user-id", "1", STREAMKIT_SECRET_KEY=OTHER_KEY).exit_code == 0


def test_no_second_key_is_made_beside_that_of_the_services(folder: Path) -> None:
    assert run(folder, "issue", "--user-id", "1", STREAMKIT_SECRET_KEY=OTHER_KEY).exit_code == 0
    ran = run(folder, "issue", "--user-id", "1")
    assert (ran.exit_code, ran.out) == (2, "")
    assert "set STREAMKIT_SECRET_KEY to theirs" in ran.err
    assert load_secret_key(folder / "data") is None


def test_the_key_of_what_runs_on_the_folder_is_wanted_before_there_is_any_client(folder: Path) -> None:
    with announced(folder / "data", Process(("up",), "http://127.0.0.1:1", ("skk_0123456789ab",))):
        assert "set STREAMKIT_SECRET_KEY to theirs" in run(folder, "issue", "--user-id", "1").err
        ran = run(folder, "issue", "--user-id", "1", STREAMKIT_SECRET_KEY=OTHER_KEY)
    assert (ran.exit_code, ran.out) == (2, "")
    assert "StreamKit at http://127.0.0.1:1 has another secret key" in ran.err
    assert load_secret_key(folder / "data") is None


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (("issue", "--user-id", "9"), 1, "no broadcaster 9"),
        (("issue", "--user-id", "1", "--scopes", "read everything"), 2, "read, stream-info:write, events:write"),
        (("issue", "--user-id", "1", "--scopes", ""), 2, "no scope given"),
        (("issue", "--user-id", "1", "--expires-days", "-1"), 2, "--expires-days"),
        (("issue",), 2, "--user-id"),
        (("rotate", "--client-id", "skc_none"), 1, "no client skc_none"),
        (("rotate", "--client-id", "skc_none", "--overlap-s", "-1"), 2, "--overlap-s"),
        (("revoke", "--client-id", "skc_none"), 1, "no client skc_none"),
    ],
)
def test_refusals(folder: Path, arguments: tuple[str, ...], exit_code: int, said: str) -> None:
    ran = run(folder, *arguments)
    assert (ran.exit_code, ran.out) == (exit_code, "")
    assert said in ran.err


def test_rotate(folder: Path) -> None:
    issued = issue(folder)
    rotated = run(folder, "rotate", "--client-id", issued["client_id"], "--overlap-s", "60", "--json").document
    assert set(rotated) == {"client_secret"}
    assert answer(folder, issued) == answer(folder, issued | rotated) == "ok"
    last = run(folder, "rotate", "--client-id", issued["client_id"], "--json").document
    assert answer(folder, issued) == answer(folder, issued | rotated) == "invalid_credentials"
    assert answer(folder, issued | last) == "ok"


def test_revoke_and_list(folder: Path) -> None:
    kept, gone = issue(folder), issue(folder)
    for _ in range(2):
        ran = run(folder, "revoke", "--client-id", gone["client_id"], "--json")
        assert (ran.exit_code, ran.document) == (0, {})
    assert answer(folder, gone) == "invalid_credentials"
    assert answer(folder, kept) == "ok"
    assert run(folder, "rotate", "--client-id", gone["client_id"]).exit_code == 1
    ran = run(folder, "list", "--json")
    assert {client["client_id"]: client["revoked"] for client in ran.document} == {
        kept["client_id"]: False,
        gone["client_id"]: True,
    }
    assert "sks_" not in ran.out + run(folder, "list").out


def test_removing_the_broadcaster_shuts_its_clients_out(folder: Path) -> None:
    issued = issue(folder)
    invoke(accounts, "remove", "--user-id", "1", folder=folder)
    assert answer(folder, issued) == "invalid_credentials"
    listed = invoke(tokens, "list", "--json", folder=folder).document
    assert [token["revoked"] for token in listed] == [True]


def test_help_has_an_example_everywhere() -> None:
    for name, command in credentials.commands.items():
        assert f"streamkit credentials {name}" in (command.help or "")
