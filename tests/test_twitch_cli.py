"""From outside, before servers that have the paths and the ways of Twitch's own command-line client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from streamkit.cli.connect import connect
from tests.fakes.twitch_cli import APP_TOKEN, SCOPES, USER, USER_TOKEN, TwitchCli, running_twitch_cli
from tests.program import Program
from tests.streamkit.cli.running import invoke
from tests.test_connect import KEY, connections, told

BY_HAND = ("accounts", "connect", "--user-id", "1", "--access-token-stdin", "--platform")
CHEER = {"broadcaster_user_id": USER["id"], "user_id": "7", "user_name": "Seven", "is_anonymous": False, "bits": 100}


@pytest.fixture
async def cli() -> AsyncIterator[TwitchCli]:
    async with running_twitch_cli() as cli:
        yield cli


async def kinds(folder: Path, **settings: str) -> list[str]:
    """Of what is on the log, but what polls saw."""
    _, events = await told(folder, "log", "tail", **settings)
    return [event["type"] for event in events if not event["type"].endswith(".snapshot")]


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)


async def test_connected_subscribed_told_revoked_and_closed(tmp_path: Path, cli: TwitchCli) -> None:
    settings: dict[str, Any] = {**cli.settings(), "STREAMKIT_SECRET_KEY": KEY}
    await told(tmp_path, "accounts", "add", "--name", "S", **settings)
    code, document = await told(tmp_path, *BY_HAND, "twitch", stdin=f"{USER_TOKEN}\n", **settings)
    assert (code, document["platform_id"], document["scopes"]) == (0, USER["id"], sorted(SCOPES))
    with Program(tmp_path, "ingest", **settings):
        await until(lambda: cli.enabled("channel.cheer"))
        await cli.trigger("channel.cheer", CHEER)
        await cli.trigger("channel.cheer", None, "authorization_revoked")
        await until(lambda: cli.enabled("channel.cheer"))
        await cli.trigger("channel.cheer", CHEER)
        await cli.end(4006)
        await until(lambda: not cli.sockets)
        await until(lambda: cli.enabled("channel.cheer"))
        await cli.trigger("channel.cheer", CHEER)
        async with asyncio.timeout(30):
            while sorted(await kinds(tmp_path, **settings)) != [
                *["channel.cheered"] * 3,
                "platform.subscription.revoked",
            ]:
                pass
        code, rows = await told(tmp_path, "subscriptions", "list", **settings)
        assert code == 0
        standing = {row["type"] for row in rows if row["status"] == "enabled" and row["problem"] is None}
        assert {"channel.cheer", "stream.online", "channel.follow"} <= standing
        assert {row["status"] for row in rows if row["type"] not in standing} == {"missing"}
    assert await connections(tmp_path, **settings) == {"twitch": "connected"}


async def test_what_is_no_access_token_of_a_streamer_is_refused(tmp_path: Path, cli: TwitchCli) -> None:
    settings: dict[str, Any] = {**cli.settings(), "STREAMKIT_SECRET_KEY": KEY}
    await told(tmp_path, "accounts", "add", "--name", "S", **settings)
    code, document = await told(tmp_path, *BY_HAND, "twitch", stdin=APP_TOKEN, **settings)
    assert (code, "does not take this access token" in document["error"]) == (1, True)
    others = settings | {"STREAMKIT_TWITCH_CLIENT_ID": "d" * 30}
    code, document = await told(tmp_path, *BY_HAND, "twitch", stdin=USER_TOKEN, **others)
    assert (code, "another app's" in document["error"]) == (1, True)
    for wrong in (("--platform", "kick"), ("--platform", "twitch", "--refresh-token-stdin")):
        assert invoke(connect, *BY_HAND[2:5], *wrong, folder=tmp_path, **settings).exit_code == 2
