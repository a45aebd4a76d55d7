"""`streamkit settings`: everything shown, nothing secret told unless asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamkit.cli.settings import settings
from streamkit.declared_settings import SETTINGS
from streamkit.keys import Keys, load_or_create_secret_key
from tests.streamkit.cli.running import Ran, invoke

KEY = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="


def run(folder: Path, *arguments: str, **values: str) -> Ran:
    return invoke(settings, *arguments, folder=folder, **values)


def test_every_setting_is_shown(tmp_path: Path) -> None:
    ran = run(tmp_path, "--json", STREAMKIT_PORT="8123")
    assert [row["name"] for row in ran.document] == [setting.name for setting in SETTINGS]
    port = next(row for row in ran.document if row["name"] == "STREAMKIT_PORT")
    assert (port["unit"], port["current"], port["source"]) == ("port", "8123", "environment")
    text = run(tmp_path).out
    assert all(setting.name in text for setting in SETTINGS)


def test_secrets_are_hidden(tmp_path: Path) -> None:
    secrets = {
        "STREAMKIT_SECRET_KEY": KEY,
        "STREAMKIT_TWITCH_WEBHOOK_SECRET": "hidden-secret-1",
        "STREAMKIT_KICK_WEBHOOK_TOKEN": "hidden-secret-2",
        "STREAMKIT_INTERNAL_TOKEN": "hidden-secret-3",
        "STREAMKIT_REDIS_URL": "redis://user:hidden-secret-4@host:6379/0",
    }
    for arguments in ((), ("--json",)):
        ran = run(tmp_path, *arguments, **secrets)
        assert ran.exit_code == 0
        assert "hidden-secret" not in ran.out + ran.err
        assert KEY not in ran.out
        assert "(hidden)" in ran.out
        assert "redis://user:…@host:6379/0" in ran.out


def test_show_prints_one(tmp_path: Path) -> None:
    assert run(tmp_path, "--show", "STREAMKIT_SECRET_KEY", STREAMKIT_SECRET_KEY=KEY).out == KEY + "\n"
    shown = run(tmp_path, "--show", "STREAMKIT_HOST", "--json").document
    assert shown == {"name": "STREAMKIT_HOST", "value": "127.0.0.1"}


def test_show_prints_what_was_generated_and_derived(tmp_path: Path) -> None:
    key = load_or_create_secret_key(tmp_path / "data")
    token = run(tmp_path, "--show", "STREAMKIT_INTERNAL_TOKEN").out
    assert token == Keys.derive(key).internal_token + "\n"
    shown = run(tmp_path, "--show", "STREAMKIT_SECRET_KEY").out.strip()
    assert run(tmp_path, "--show", "STREAMKIT_INTERNAL_TOKEN", STREAMKIT_SECRET_KEY=shown).out == token


@pytest.mark.parametrize(
    ("name", "exit_code", "said"),
    [
        ("STREAMKIT_PRT", 2, "STREAMKIT_PORT"),
        ("HOME", 2, "no setting"),
        ("STREAMKIT_PORT", 1, "not set"),
        ("STREAMKIT_SECRET_KEY", 1, "not set"),
    ],
)
def test_show_of_what_is_not_there(tmp_path: Path, name: str, exit_code: int, said: str) -> None:
    ran = run(tmp_path, "--show", name)
    assert (ran.exit_code, ran.out) == (exit_code, "")
    assert said in ran.err


def test_mistakes_are_told_beside_the_table(tmp_path: Path) -> None:
    ran = run(tmp_path, "--json", STREAMKIT_PORT="x", STREAMKIT_TIMEZONE="Mars", STREAMKIT_HOTS="x")
    assert ran.exit_code == 2
    assert len(ran.document) == len(SETTINGS)
    assert all(word in ran.err for word in ("STREAMKIT_PORT must", "STREAMKIT_TIMEZONE must", "STREAMKIT_HOST?"))


def test_what_holds_without_being_set_is_named(tmp_path: Path) -> None:
    def current(**values: str) -> list[str | None]:
        rows = {row["name"]: row["current"] for row in run(tmp_path, "--json", **values).document}
        names = ("STREAMKIT_SECRET_KEY", "STREAMKIT_INTERNAL_TOKEN", "STREAMKIT_PARTITIONS")
        return [rows[name] for name in names]

    assert current() == [None, None, "1"]
    assert current(STREAMKIT_SECRET_KEY=KEY) == ["(hidden)", "derived", "1"]
    load_or_create_secret_key(tmp_path / "data")
    assert current() == ["generated", "derived", "1"]
    assert current(STREAMKIT_LOG_URL="kafka://127.0.0.1:9092")[2] == "4"
