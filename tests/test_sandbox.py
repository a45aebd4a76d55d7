"""A new user's way through the sandbox: settings, consent on both platforms, and what happens there shows in the API, a change too."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

from tests.fakes.platforms import KICK_STREAMER, TWITCH_STREAMER, consent
from tests.program import API, Program, Reader, command

DEADLINE_S = 30.0
HAPPENINGS = ("live", "follow", "subscribe", "gift", "spend")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _connect(folder: Path, platform: str, person_id: str) -> None:
    issued = await asyncio.to_thread(command, folder, "accounts", "connect", "--user-id", "1", "--platform", platform)
    async with aiohttp.ClientSession() as browser:
        async with browser.get(issued["url"], allow_redirects=False) as answer:
            back = await consent(answer.headers["Location"], person_id)
        async with browser.get(back) as page:
            assert page.status == 200, await page.text()


async def _until_subscribed(folder: Path) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            listed = await asyncio.to_thread(command, folder, "subscriptions", "list")
            platforms = {one["platform"] for one in listed if one["status"] == "enabled"}
            if platforms == {"kick", "twitch"} and all(one["status"] == "enabled" for one in listed):
                return


async def test_connect_subscribe_deliver_and_change_the_stream(tmp_path: Path) -> None:
    port = _free_port()
    with Program(tmp_path, "sandbox", "--streamkit", f"http://127.0.0.1:{port}") as sandbox:
        async with aiohttp.ClientSession() as http:
            async with http.get(f"{sandbox.url}/sandbox.env") as answer:
                (tmp_path / ".env").write_text(await answer.text())
            with Program(tmp_path, "up", port=port) as up:
                await _connect(tmp_path, "kick", KICK_STREAMER.id)
                await _connect(tmp_path, "twitch", TWITCH_STREAMER.id)
                await _until_subscribed(tmp_path)
                for at in (f"kick/{KICK_STREAMER.id}", f"twitch/{TWITCH_STREAMER.id}"):
                    for what in HAPPENINGS:
                        await http.post(f"{sandbox.url}/{at}/{what}")
                    await http.post(f"{sandbox.url}/{at}/change", data={"title": "From the sandbox"})
                issued = await asyncio.to_thread(command, tmp_path, "credentials", "issue", "--user-id", "1")
                reader = Reader(http, up.url, issued)
                overview = await _until(reader, lambda told: told["events"]["total"] == 2 * (len(HAPPENINGS) + 1))
                change = {"title": "By the API", "category": "minecraft"}
                async with http.post(f"{up.url}{API}stream-info", json=change, headers=reader.headers) as answer:
                    assert answer.status == 200, await answer.text()
                    assert (await answer.json())["data"]["category"] == "Minecraft"
                changed = await _until(reader, lambda told: _on_kick(told)["category_name"] == "Minecraft")
    assert overview["subscriptions"]["new"] == 2
    assert overview["subscriptions"]["gifted"] == 6
    assert overview["kicks"]["total_kicks"] == 100
    for platform in ("kick", "twitch"):
        shown = overview["stream_status"]["platforms"][platform]
        assert (shown["is_live"], shown["stream_title"]) == (True, "From the sandbox")
    assert _on_kick(changed)["stream_title"] == "By the API"
    assert changed["stream_status"]["platforms"]["twitch"]["stream_title"] == "From the sandbox"


def _on_kick(overview: Any) -> Any:
    return overview["stream_status"]["platforms"]["kick"]


async def _until(reader: Reader, holds: Callable[[Any], bool]) -> Any:
    async with asyncio.timeout(DEADLINE_S):
        while not holds(overview := await reader.get("overview")):
            await asyncio.sleep(0.05)
        return overview
