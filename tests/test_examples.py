"""The examples run as they are written, against the whole program."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import aiohttp

from tests.program import Program, Reader, command
from tests.services.process import free_port

ROOT = Path(__file__).parents[1]


async def test_the_bot_reads_back_what_it_pushed(tmp_path: Path) -> None:
    with Program(tmp_path, "up") as up:
        account = command(tmp_path, "accounts", "add", "--name", "Streamer", "--kick", "streamer_name:84635624")
        user_id = str(account["user_id"])
        issued = command(tmp_path, "credentials", "issue", "--user-id", user_id, "--scopes", "read events:write")
        for round_ in (1, 2):
            told = await run_bot(up.url, issued)
            assert [song["provider"] for song in told["song-request"]] == ["youtube"] * round_
            giveaway = told["giveaway"]
            assert giveaway["settings"] == {"title": "A key", "keyword": "!join", "prize": "Celeste"}
            assert [entry["username"] for entry in giveaway["entries"]] == ["Anna", "ben_k"]
            assert giveaway["winner"]["username"] == "ben_k"
            assert told["wheel"] == {
                "title": "Wheel of Fortune",
                "segments": ["100 coins", "Hydrate"],
                "last_result": "Hydrate",
            }
            assert len(told["gamble"]) == round_
            game = told["gamble"][0]
            assert (game["username"], game["outcome"], game["bet"], game["payout"]) == ("ben_k", "win", 10, 20)
            assert told["coins"]["leaderboard"] == [{"username": "ben_k", "coins": 110 * round_, "platform": "kick"}]
            async with aiohttp.ClientSession() as http:
                overview = await Reader(http, up.url, issued).get("overview")
            assert overview["events"] == {"total": 9 * round_}


async def test_whatever_is_in_its_way_is_one_sentence(tmp_path: Path) -> None:
    nothing = f"http://127.0.0.1:{free_port()}"
    unknown = {"client_id": "skc_1", "client_secret": "sks_1", "jwt": "eyJ"}
    assert (
        await complaint(nothing, unknown | {"jwt": ""}) == "Set BOT_JWT: the top of this file shows how it is started."
    )
    assert (await complaint(nothing, unknown)).startswith(f"No StreamKit answers at {nothing}")
    with Program(tmp_path, "up") as up:
        assert (await complaint(up.url, unknown)).startswith("POST /ingest/v1/events: invalid_credentials: Unknown")
        command(tmp_path, "accounts", "add", "--name", "Streamer")
        reader = command(tmp_path, "credentials", "issue", "--user-id", "1")
        assert "insufficient_scope: This token lacks the scope events:write" in await complaint(up.url, reader)


async def test_rooms_that_run_apart_have_an_address_each(tmp_path: Path) -> None:
    command(tmp_path, "accounts", "add", "--name", "Streamer")
    issued = command(tmp_path, "credentials", "issue", "--user-id", "1", "--scopes", "read events:write")
    with (
        Program(tmp_path, "ingest") as ingest,
        Program(tmp_path, "projector") as projector,
        Program(tmp_path, "api", STREAMKIT_PROJECTOR_URLS=projector.url) as api,
    ):
        assert "GET /api/public/v2/song-request: not_found" in await complaint(ingest.url, issued)
        assert (await run_bot(ingest.url, issued, BOT_API_URL=api.url))["wheel"]["last_result"] == "Hydrate"


async def run_bot(url: str, issued: dict[str, str], **more: str) -> dict[str, Any]:
    """What `examples/bot.py` prints: each path with its data."""
    code, out, err = await start_bot(url, issued, more)
    assert (code, err) == (0, "")
    return {path: json.loads(data) for path, _, data in (line.partition(" ") for line in out.splitlines())}


async def complaint(url: str, issued: dict[str, str]) -> str:
    """The one line on stderr with which it ends."""
    code, _, err = await start_bot(url, issued, {})
    assert code == 1
    (line,) = err.splitlines()
    return line


async def start_bot(url: str, issued: dict[str, str], more: dict[str, str]) -> tuple[int | None, str, str]:
    """Its exit code, stdout and stderr."""
    credentials = {f"BOT_{name.upper()}": issued[name] for name in ("client_id", "client_secret", "jwt")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "examples" / "bot.py"),
        env=os.environ | credentials | {"BOT_URL": url} | more,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()
