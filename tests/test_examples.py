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


async def run_bot(url: str, issued: dict[str, str]) -> dict[str, Any]:
    """What `examples/bot.py` prints: each path with its data."""
    credentials = {f"BOT_{name.upper()}": issued[name] for name in ("client_id", "client_secret", "jwt")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "examples" / "bot.py"),
        env=os.environ | credentials | {"BOT_URL": url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    return {path: json.loads(data) for path, _, data in (line.partition(" ") for line in out.decode().splitlines())}
