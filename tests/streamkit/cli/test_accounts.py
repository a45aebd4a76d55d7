"""`streamkit accounts`: who is added, what is taken, and what two processes at once may not both get."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from schemas.control import BroadcasterRegistered, ControlEvent, PlatformConnected, PlatformName, encode_control
from schemas.event import utc_now
from streamkit.cli.accounts import accounts, add_broadcaster
from streamkit.cli.common import Failure
from streamkit.cli.control import Accounts
from streamkit.directory import Directory, Identity
from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import Appended, Record
from tests.streamkit.cli.running import Ran, finish, invoke, start


def run(folder: Path, *arguments: str, **settings: str) -> Ran:
    return invoke(accounts, *arguments, folder=folder, **settings)


def listed(folder: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = run(folder, "list", "--json").document
    return found


def test_add_and_list(tmp_path: Path) -> None:
    assert listed(tmp_path) == []
    added = run(tmp_path, "add", "--name", "Streamer", "--kick", "st:84635624", "--twitch", "st_tv:29958160", "--json")
    assert (added.exit_code, added.document, added.err) == (0, {"user_id": 1}, "")
    assert run(tmp_path, "add", "--name", "Other", "--json").document == {"user_id": 2}
    assert listed(tmp_path) == [
        {
            "user_id": 1,
            "name": "Streamer",
            "primary_platform": "kick",
            "platforms": {
                "kick": {"username": "st", "id": "84635624"},
                "twitch": {"username": "st_tv", "id": "29958160"},
            },
            "connections": {},
        },
        {"user_id": 2, "name": "Other", "primary_platform": None, "platforms": {}, "connections": {}},
    ]
    text = run(tmp_path, "list").out
    assert "Streamer" in text
    assert "st_tv:29958160" in text


@pytest.mark.parametrize(
    ("arguments", "primary"),
    [
        (("--kick", "k:1", "--twitch", "t:2"), "kick"),
        (("--twitch", "t:2", "--kick", "k:1"), "twitch"),
        (("--twitch=t:2", "--name", "again", "--kick=k:1"), "twitch"),
        (("--twitch", "t:2", "--kick", "k:1", "--primary", "kick"), "kick"),
        (("--primary", "twitch", "--kick", "k:1", "--twitch", "t:2"), "twitch"),
        (("--twitch", "t:2"), "twitch"),
        ((), None),
    ],
)
def test_the_primary_platform(tmp_path: Path, arguments: tuple[str, ...], primary: str | None) -> None:
    assert run(tmp_path, "add", "--name", "N", *arguments).exit_code == 0
    assert listed(tmp_path)[0]["primary_platform"] == primary


def test_a_user_id_of_ones_own_and_the_next_free_one(tmp_path: Path) -> None:
    assert run(tmp_path, "add", "--name", "A", "--user-id", "123", "--json").document == {"user_id": 123}
    assert run(tmp_path, "add", "--name", "B", "--json").document == {"user_id": 124}


def test_what_is_taken_is_named_and_exits_1(tmp_path: Path) -> None:
    run(tmp_path, "add", "--name", "First", "--kick", "k:1", "--twitch", "t:2")
    for arguments, named in (
        (("--user-id", "1"), "User id 1 is taken by First"),
        (("--kick", "other:1"), "The Kick account 1 is taken by broadcaster 1 (First)"),
        (("--kick", "free:3", "--twitch", "other:2"), "The Twitch account 2 is taken"),
    ):
        refused = run(tmp_path, "add", "--name", "Second", *arguments, "--json")
        assert refused.exit_code == 1
        assert named in refused.err
        assert named in refused.document["error"]
    assert len(listed(tmp_path)) == 1
    assert run(tmp_path, "add", "--name", "Third", "--kick", "free:3", "--twitch", "k:1").exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("--kick", "k:1"),
        ("--name", ""),
        ("--name", "x" * 201),
        ("--name", "N", "--kick", "84635624"),
        ("--name", "N", "--kick", "84635624:name"),
        ("--name", "N", "--kick", ":1"),
        ("--name", "N", "--kick", "a b:1"),
        ("--name", "N", "--kick", "k:01"),
        ("--name", "N", "--user-id", "0"),
        ("--name", "N", "--user-id", "x"),
        ("--name", "N", "--primary", "kick"),
        ("--name", "N", "--primary", "youtube"),
    ],
)
def test_usage(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    refused = run(tmp_path, "add", *arguments)
    assert (refused.exit_code, refused.out) == (2, "")
    assert "Error" in refused.err


def test_disconnect_frees_the_identity(tmp_path: Path) -> None:
    run(tmp_path, "add", "--name", "A", "--kick", "k:1", "--twitch", "t:2")
    assert run(tmp_path, "disconnect", "--user-id", "1", "--platform", "kick", "--json").document == {}
    assert listed(tmp_path)[0]["primary_platform"] == "twitch"
    for arguments in (("--user-id", "1", "--platform", "kick"), ("--user-id", "9", "--platform", "kick")):
        assert run(tmp_path, "disconnect", *arguments).exit_code == 1
    assert run(tmp_path, "add", "--name", "B", "--kick", "k:1").exit_code == 0


def test_remove_frees_identities_and_keeps_the_user_id(tmp_path: Path) -> None:
    run(tmp_path, "add", "--name", "A", "--kick", "k:1")
    assert run(tmp_path, "remove", "--user-id", "1", "--json").document == {}
    gone = run(tmp_path, "remove", "--user-id", "1", "--json")
    assert gone.exit_code == 1
    assert "no broadcaster 1" in gone.document["error"]
    again = run(tmp_path, "add", "--name", "B", "--user-id", "1")
    assert again.exit_code == 1
    assert "removed" in again.err
    assert run(tmp_path, "add", "--name", "B", "--kick", "k:1", "--json").document == {"user_id": 2}


def test_bad_settings_exit_2_and_an_absent_broker_exits_3(tmp_path: Path) -> None:
    wrong = run(tmp_path, "list", "--json", STREAMKIT_PORT="x", STREAMKIT_PRT="1")
    assert wrong.exit_code == 2
    assert "STREAMKIT_PORT must be" in wrong.document["error"]
    (tmp_path / "data").write_text("a file where the folder should be")
    unreachable = run(tmp_path, "list", "--json")
    assert unreachable.exit_code == 3
    assert unreachable.document["error"]


def test_an_unknown_setting_is_pointed_at_on_stderr(tmp_path: Path) -> None:
    ran = run(tmp_path, "list", "--json", STREAMKIT_PRT="1")
    assert (ran.exit_code, ran.document) == (0, [])
    assert "Did you mean STREAMKIT_PORT?" in ran.err


def test_help_has_an_example_everywhere() -> None:
    for name, command in accounts.commands.items():
        assert f"streamkit accounts {name}" in (command.help or "")


class Overtaken(MemoryLog):
    """A log on which another process's records land just before the next appends."""

    def __init__(self) -> None:
        super().__init__()
        self.others: list[list[ControlEvent]] = []

    async def append(self, topic: str, records: Sequence[Record]) -> list[Appended]:
        if self.others:
            await super().append(topic, [Record("", encode_control(event)) for event in self.others.pop(0)])
        return await super().append(topic, records)


def _registered(user_id: int) -> ControlEvent:
    return BroadcasterRegistered(at=utc_now(), user_id=user_id, name="Other")


def _kick(user_id: int, platform_id: str) -> ControlEvent:
    return PlatformConnected(at=utc_now(), user_id=user_id, platform="kick", platform_id=platform_id, username="o")


async def test_overtaken_at_the_user_id() -> None:
    log = Overtaken()
    own = Accounts(log, Directory())
    log.others = [[_registered(1), _kick(1, "9")], [_registered(2)]]
    added = await add_broadcaster(own, "Own", None, {"kick": Identity("own", "5")}, "kick")
    assert (added.user_id, added.name, added.platforms) == (3, "Own", {"kick": Identity("own", "5")})
    first = own.directory.broadcaster(1)
    assert first is not None
    assert first.platforms == {"kick": Identity("o", "9")}
    log.others = [[_registered(7)]]
    with pytest.raises(Failure, match="User id 7 is taken by Other"):
        await add_broadcaster(own, "Own", 7, {}, None)
    await log.close()


async def test_overtaken_at_the_identity() -> None:
    log = Overtaken()
    own = Accounts(log, Directory())
    log.others = [[_registered(1)], [_kick(1, "5")]]
    identities: dict[PlatformName, Identity] = {"twitch": Identity("own", "6"), "kick": Identity("own", "5")}
    with pytest.raises(Failure, match="The Kick account 5 is taken by broadcaster 1"):
        await add_broadcaster(own, "Own", None, identities, "kick")
    assert [broadcaster.user_id for broadcaster in own.directory.broadcasters()] == [1]
    assert own.directory.broadcaster_of("twitch", "6") is None
    await log.close()


def test_of_two_processes_one_gets_the_identity(tmp_path: Path, log_url: str) -> None:
    for round_ in range(1, 4):
        add = ("accounts", "add", "--json", "--kick", f"k:{round_}", "--name")
        started = [start(*add, name, folder=tmp_path, STREAMKIT_LOG_URL=log_url) for name in "AB"]
        ran = [finish(process) for process in started]
        assert sorted(r.exit_code for r in ran) == [0, 1], [r.err for r in ran]
        loser = next(r for r in ran if r.exit_code == 1)
        assert f"The Kick account {round_} is taken" in loser.document["error"]
    found = run(tmp_path, "list", "--json", STREAMKIT_LOG_URL=log_url).document
    assert len(found) == 3
    assert all(broadcaster["platforms"] for broadcaster in found)


def test_processes_at_once_get_user_ids_of_their_own(tmp_path: Path) -> None:
    started = [
        start("accounts", "add", "--name", f"N{n}", "--kick", f"k{n}:{n + 1}", "--json", folder=tmp_path)
        for n in range(4)
    ]
    ran = [finish(process) for process in started]
    assert [r.exit_code for r in ran] == [0] * 4, [r.err for r in ran]
    assert sorted(r.document["user_id"] for r in ran) == [1, 2, 3, 4]
    by_id = {b["user_id"]: b["name"] for b in listed(tmp_path)}
    assert by_id == {r.document["user_id"]: f"N{n}" for n, r in enumerate(ran)}
