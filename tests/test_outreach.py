"""From outside: a streamer connects, everything is subscribed, what happens there is an event here, also after kill -9."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

from streamkit.platforms.subscriptions import KICK_TYPES, TWITCH_TYPES
from streamkit.simulation.bodies import Person
from tests.fakes.platforms import KICK_STREAMER, TWITCH_STREAMER, Platforms
from tests.program import Program
from tests.test_connect import KEY, told

DEADLINE_S = 30.0
BY_HAND = ("accounts", "connect", "--user-id", "1", "--refresh-token-stdin", "--platform")


async def listed(folder: Path, **settings: str) -> list[dict[str, Any]]:
    code, rows = await told(folder, "subscriptions", "list", **settings)
    assert code == 0, rows
    assert isinstance(rows, list)
    return rows


async def all_well(folder: Path, **settings: str) -> list[dict[str, Any]]:
    """The rows, as soon as none has a problem."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            rows = await listed(folder, **settings)
            if rows and all(row["problem"] is None for row in rows):
                return rows


async def test_connected_subscribed_heard_and_after_a_kill_again(tmp_path: Path, platforms: Platforms) -> None:
    settings: dict[str, Any] = {**platforms.settings(), "STREAMKIT_SECRET_KEY": KEY}
    program = Program(tmp_path, "ingest", **settings)
    with program:
        await told(tmp_path, "accounts", "add", "--name", "S", **settings)
        platforms.kick.events.switch_webhooks(f"{program.url}/webhooks/kick")
        for platform, fake, person in (
            ("kick", platforms.kick, KICK_STREAMER),
            ("twitch", platforms.twitch, TWITCH_STREAMER),
        ):
            scopes = {each.scope for each in TWITCH_TYPES if each.scope} | {"user:read", "channel:write"}
            issued = fake.grants.redeem(fake.grants.code(person.id, sorted(scopes), "x", None), "x", None)
            code, document = await told(tmp_path, *BY_HAND, platform, stdin=f"{issued.refresh_token}\n", **settings)
            assert code == 0, document
        rows = await all_well(tmp_path, **settings)
        assert Counter(row["platform"] for row in rows) == {"kick": len(KICK_TYPES), "twitch": len(TWITCH_TYPES)}
        assert {(row["platform"], row["transport"], row["status"], row["user_id"]) for row in rows} == {
            ("kick", "webhook", "enabled", 1),
            ("twitch", "websocket", "enabled", 1),
        }
        platforms.twitch.follow(TWITCH_STREAMER.id, Person("41", "First"))
        await heard(tmp_path, {"41"}, **settings)
        program.kill()
        program.start()
        platforms.kick.events.switch_webhooks(f"{program.url}/webhooks/kick")
        await all_well(tmp_path, **settings)
        platforms.twitch.follow(TWITCH_STREAMER.id, Person("42", "Second"))
        await heard(tmp_path, {"41", "42"}, **settings)


async def heard(folder: Path, viewers: set[str], **settings: str) -> None:
    """Wait until these have followed."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            _, events = await told(folder, "log", "tail", "--type", "channel.followed", **settings)
            if {event["actor"]["id"] for event in events} == viewers:
                return


async def test_what_is_not_granted_or_not_made_is_named(tmp_path: Path, platforms: Platforms) -> None:
    settings: dict[str, Any] = {**platforms.settings(), "STREAMKIT_SECRET_KEY": KEY}
    await told(tmp_path, "accounts", "add", "--name", "S", "--kick", f"s:{KICK_STREAMER.id}", **settings)
    grants = platforms.twitch.grants
    issued = grants.redeem(grants.code(TWITCH_STREAMER.id, ["bits:read"], "x", None), "x", None)
    await told(tmp_path, *BY_HAND, "twitch", stdin=f"{issued.refresh_token}\n", **settings)
    rows = await listed(tmp_path, **settings)
    assert {row["status"] for row in rows} == {"missing"}
    problems = {row["type"]: row["problem"] for row in rows if row["platform"] == "twitch"}
    assert "moderator:read:followers" in problems["channel.follow"]
    assert "accounts connect" in problems["channel.follow"]
    assert "subscriptions.refused" in problems["channel.cheer"]
    assert sum(row["platform"] == "kick" for row in rows) == len(KICK_TYPES)


async def test_without_an_app_or_a_platform_that_answers(tmp_path: Path, platforms: Platforms) -> None:
    for command in (
        ("subscriptions", "list"),
        ("drift", "--user-id", "1"),
    ):  # whose exit 1 is another's: a number differs
        code, document = await told(tmp_path, *command)
        assert (code, "STREAMKIT_KICK_CLIENT_ID" in document["error"]) == (2, True)
    settings = {**platforms.settings(), "STREAMKIT_SECRET_KEY": KEY, "STREAMKIT_TWITCH_CLIENT_SECRET": "wrong"}
    code, document = await told(tmp_path, "subscriptions", "list", **settings)
    assert (code, "Twitch" in document["error"]) == (3, True)
