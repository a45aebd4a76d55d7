"""Connecting from outside: commands and processes of the real program, the fake platforms, a browser."""

from __future__ import annotations

import asyncio
import json
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from streamkit.sandbox.grants import Issued
from tests.fakes.platforms import KICK_STREAMER, TWITCH_STREAMER, Platforms, consent
from tests.program import STREAMKIT, Program, command, run
from tests.streamkit.cli.running import environment

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
NEW_KEY = "ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1+f4CBgoM="


async def told(folder: Path, *arguments: str, stdin: str = "", **settings: str) -> tuple[int, Any]:
    """The exit code and document of a command that may call the platforms, which live in this process."""

    def ran() -> subprocess.CompletedProcess[str]:
        env = environment(folder, **settings)
        return subprocess.run(
            [*STREAMKIT, *arguments, "--json"], env=env, cwd=folder, input=stdin, capture_output=True, text=True, timeout=60
        )  # fmt: skip

    ended = await asyncio.to_thread(ran)
    return ended.returncode, json.loads(ended.stdout)


async def connections(folder: Path, **settings: str) -> dict[str, str]:
    """What `accounts list` says of the first broadcaster."""
    _, document = await told(folder, "accounts", "list", **settings)
    found: dict[str, str] = document[0]["connections"]
    return found


async def test_begun_at_one_process_and_ended_at_another(tmp_path: Path, platforms: Platforms) -> None:
    """Two ingest processes over one log: one begins, the other ends; nothing secret is logged."""
    settings: dict[str, Any] = {**platforms.settings(), "STREAMKIT_SECRET_KEY": KEY}
    travelled: list[str] = []
    assert command(tmp_path, "accounts", "add", "--name", "S", **settings) == {"user_id": 1}
    one, other = (Program(tmp_path, "ingest", **settings) for _ in range(2))
    with other:
        one.start()
        async with aiohttp.ClientSession() as browser:
            for platform, person in (("kick", KICK_STREAMER), ("twitch", TWITCH_STREAMER)):
                issued = command(tmp_path, "accounts", "connect", "--user-id", "1", "--platform", platform, **settings)
                port = urlsplit(issued["url"]).port
                begins, ends = (one, other) if one.url.endswith(f":{port}") else (other, one)
                assert issued["url"].startswith(begins.url.replace("127.0.0.1", "localhost"))
                async with browser.get(issued["url"], allow_redirects=False) as answer:
                    back = await consent(answer.headers["Location"], person.id)
                travelled += [
                    issued["url"].split("=")[1],
                    *(value for (value,) in parse_qs(urlsplit(back).query).values()),
                ]
                elsewhere = back.replace(
                    begins.url.replace("127.0.0.1", "localhost"), ends.url.replace("127.0.0.1", "localhost")
                )
                async with browser.get(elsewhere) as page:
                    assert page.status == 200, await page.text()
        assert await connections(tmp_path, **settings) == {"kick": "connected", "twitch": "connected"}
        travelled += [
            *platforms.kick.grants._refresh,
            *platforms.twitch.grants._refresh,
            *platforms.kick.grants._access,
        ]
        one.kill()
        text = other.output()  # both write there
    text += run(tmp_path, "status", **settings).stderr + run(tmp_path, "log", "tail", **settings).stdout
    assert "connect.connected" in text
    assert not [secret for secret in travelled if len(secret) > 20 and secret in text]


async def test_by_hand_then_gone(tmp_path: Path, platforms: Platforms) -> None:
    settings: dict[str, Any] = {**platforms.settings(), "STREAMKIT_SECRET_KEY": KEY}
    await told(tmp_path, "accounts", "add", "--name", "S", **settings)
    await told(tmp_path, "accounts", "add", "--name", "T", **settings)
    grants = platforms.twitch.grants
    issued = grants.redeem(grants.code(TWITCH_STREAMER.id, ["bits:read"], "x", None), "x", None)
    by_hand = ("accounts", "connect", "--platform", "twitch", "--refresh-token-stdin", "--user-id")
    assert issued.refresh_token is not None
    code, document = await told(tmp_path, *by_hand, "1", stdin=f"{issued.refresh_token}\n", **settings)
    assert (code, document["platform_id"], document["scopes"]) == (0, TWITCH_STREAMER.id, ["bits:read"])
    assert await connections(tmp_path, **settings) == {"twitch": "connected"}
    code, document = await told(tmp_path, *by_hand, "2", stdin=issued.refresh_token, **settings)
    assert (code, "another broadcaster (1)" in document["error"]) == (1, True)
    code, document = await told(tmp_path, *by_hand, "2", stdin="no-such-token", **settings)
    assert (code, "does not take this refresh token" in document["error"]) == (1, True)
    code, _ = await told(tmp_path, *by_hand, "2", stdin="  ", **settings)
    assert code == 2
    away = settings | {"STREAMKIT_TWITCH_AUTH_URL": "http://127.0.0.1:1"}
    code, _ = await told(tmp_path, *by_hand, "2", stdin=issued.refresh_token, **away)
    assert code == 3
    live = [token for token, access in grants._access.items() if access.grant is not None]
    code, _ = await told(tmp_path, "accounts", "disconnect", "--user-id", "1", "--platform", "twitch", **settings)
    assert code == 0
    assert len([token for token in live if grants.access(token)]) == len(live) - 1  # the one that was kept is revoked
    assert await connections(tmp_path, **settings) == {}
    code, _ = await told(tmp_path, *by_hand, "2", stdin=issued.refresh_token, **settings)
    assert code == 0


async def test_status_says_who_has_to_connect_again_and_a_new_key_opens_the_vault(
    tmp_path: Path, platforms: Platforms
) -> None:
    settings: dict[str, Any] = {**platforms.settings(), "STREAMKIT_SECRET_KEY": KEY}
    await told(tmp_path, "accounts", "add", "--name", "S", **settings)
    grants = platforms.twitch.grants
    grants.change_rules(user_s=30)  # less than the minute that a token has to be good for
    issued = grants.redeem(grants.code(TWITCH_STREAMER.id, ["bits:read"], "x", None), "x", None)
    by_hand = ("accounts", "connect", "--platform", "twitch", "--refresh-token-stdin", "--user-id", "1")
    assert issued.refresh_token is not None
    assert (await told(tmp_path, *by_hand, stdin=issued.refresh_token, **settings))[0] == 0
    rotated = settings | {"STREAMKIT_SECRET_KEY": NEW_KEY, "STREAMKIT_SECRET_KEY_PREVIOUS": KEY}
    with Program(tmp_path, "ingest", **rotated) as ingest:
        await _until(lambda: "vault.resealed" in ingest.output())
    grants.revoke_person(TWITCH_STREAMER.id)
    alone = settings | {"STREAMKIT_SECRET_KEY": NEW_KEY}
    with Program(tmp_path, "ingest", **alone) as ingest:
        await _until(lambda: "tokens.refused" in ingest.output())
    assert await connections(tmp_path, **alone) == {"twitch": "needs_reconnect"}
    _, status = await told(tmp_path, "status", **alone)
    (connection,) = status["connections"]
    assert (connection["user_id"], connection["platform"], connection["state"]) == (1, "twitch", "needs_reconnect")
    assert "streamkit accounts connect --user-id 1 --platform twitch" in run(tmp_path, "status", **alone).stdout


async def test_killed_while_it_renews_the_next_one_goes_on_with_the_token_that_the_vault_has(
    tmp_path: Path, platforms: Platforms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`kill -9` when the platform has given new tokens and no log has them."""
    settings: dict[str, Any] = {**platforms.settings(), "STREAMKIT_SECRET_KEY": KEY}
    await told(tmp_path, "accounts", "add", "--name", "S", **settings)
    grants = platforms.twitch.grants
    grants.change_rules(user_s=30, rotates=True)
    issued = grants.redeem(grants.code(TWITCH_STREAMER.id, ["bits:read"], "x", None), "x", None)
    by_hand = ("accounts", "connect", "--platform", "twitch", "--refresh-token-stdin", "--user-id", "1")
    assert issued.refresh_token is not None
    assert (await told(tmp_path, *by_hand, stdin=issued.refresh_token, **settings))[0] == 0
    grants.change_rules(user_s=14_000)
    asked: list[str] = []
    refresh = grants.refresh

    def killing(token: str) -> Issued:
        asked.append(token)
        given = refresh(token)
        if len(asked) == 1:
            ingest.process.kill()
        return given

    monkeypatch.setattr(grants, "refresh", killing)
    ingest = Program(tmp_path, "ingest", **settings)
    with suppress(AssertionError):  # it may die before it is ready
        await asyncio.to_thread(ingest.start)
        await _until(lambda: len(asked) == 1)
        ingest.kill()
    with Program(tmp_path, "ingest", **settings) as again:
        await _until(lambda: "tokens.renewed" in again.output())
    assert asked[0] == asked[1]
    assert await connections(tmp_path, **settings) == {"twitch": "connected"}


async def _until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)
