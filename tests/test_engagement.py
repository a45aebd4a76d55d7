"""A bot's evening over HTTP, from outside: songs, giveaways, the wheel, gambles and coins, told once and told again."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from msgspec import Struct

from schemas.event import decode_event
from streamkit.simulation.bodies import Person
from tests.bot_session import ANN, BOB, DORA, ON_KICK, ON_TWITCH, Evening
from tests.drill import Platforms, Push, check_answers, log_records
from tests.oracle import Oracle
from tests.oracle_rows import EventRow
from tests.program import Program, Reader, command
from tests.signing import TWITCH_SECRET, KickSigner, TwitchSigner


class World(Struct):
    """The program, a streamer on both platforms, and a bot that may read and push."""

    folder: Path
    up: Program
    http: aiohttp.ClientSession
    user_id: int
    bot: Reader
    evening: Evening
    at_least: str = ""

    async def deliver(self, requests: list[Push], workers: int = 1) -> None:
        """Post them all; what is asked from now on reflects them."""
        platforms = Platforms(self.http, lambda: self.up.url, requests)
        await platforms.deliver(workers)
        self.at_least = platforms.min_position

    async def answers(self) -> dict[str, Any]:
        """Every answer of the API, after it was found to be the oracle's."""
        _, served = await check_answers(self.bot, self.user_id, self.folder, self.at_least)
        return {path.removeprefix("/api/public/v2/"): data for path, data in served.items()}

    def oracle(self) -> Oracle:
        """Of what is on the log."""
        return Oracle(map(decode_event, log_records(self.folder)))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """`streamkit up` on SQLite, empty."""
    kick = KickSigner()
    secrets = {
        "STREAMKIT_KICK_PUBLIC_KEY": kick.public_pem,
        "STREAMKIT_TWITCH_WEBHOOK_SECRET": TWITCH_SECRET.decode(),
        "STREAMKIT_RATE_LIMIT": "0",
    }
    with Program(tmp_path, "up", port=0, **secrets) as up:
        accounts = ("--kick", f"{ON_KICK.name}:{ON_KICK.id}", "--twitch", f"{ON_TWITCH.name}:{ON_TWITCH.id}")
        account = command(tmp_path, "accounts", "add", "--name", "Streamer", *accounts)
        user_id: int = account["user_id"]
        scopes = ("--scopes", "read events:write")
        issued = command(tmp_path, "credentials", "issue", "--user-id", str(user_id), *scopes)
        async with aiohttp.ClientSession() as http:
            bot = Reader(http, up.url, issued)
            yield World(tmp_path, up, http, user_id, bot, Evening(kick, TwitchSigner(), bot.headers))


# ---------------------------------------------------------------------- an evening


async def test_an_evening_is_told_as_it_was_and_stays_so_when_it_is_told_again(world: World) -> None:
    evening = world.evening.all()
    await world.deliver(evening)
    served = await world.answers()
    check_by_hand(served)
    await check_viewers(world)
    await check_filters(world)

    again = evening * 2
    random.Random(4).shuffle(again)
    await world.deliver(again, workers=8)
    assert await world.answers() == served

    # and by a process that has forgotten which ids it knows
    await asyncio.to_thread(world.up.stop)
    await asyncio.to_thread(world.up.start)
    world.bot.url = world.up.url
    await world.deliver(again, workers=8)
    assert await world.answers() == served


def check_by_hand(served: dict[str, Any]) -> None:
    """Not every number is left to the oracle."""
    giveaway = served["giveaway"]
    assert giveaway["settings"] == {"title": "Renamed", "keyword": "strasse"}
    assert giveaway["entries"] == [{"username": "Ann", "platform": "kick"}]
    assert giveaway["winner"] == {"username": "Bob", "platform": "kick", "entered": False}
    past = [(row["giveaway_id"], row["entries"], row["winner"]) for row in served["giveaway/history"]]
    assert past == [
        ("g3", 1, {"username": "Bob", "platform": "kick"}),
        ("g2", 0, None),
        ("g1", 4, {"username": "Dora", "platform": "twitch"}),
    ]
    assert [(song["request_id"], song["provider"]) for song in served["song-request"]] == [
        ("s5", "youtube"),
        ("s6", "youtube"),
    ]
    songs = [(song["request_id"], song["outcome"], song["provider"]) for song in served["song-request/history"]]
    assert songs == [
        ("never asked for", "played", None),
        ("s3", "skipped", "soundcloud"),
        ("s2", "played", "spotify"),
    ]
    wheel = {"title": "Wheel", "segments": ["Hydrate", "100 coins", "Hydrate"], "last_result": "no segment"}
    assert served["wheel"] == wheel
    spins = [spin["result"] for spin in served["wheel/history"]]
    assert spins == ["no segment", "Hydrate", "before it was configured"]
    assert [game["game_type"] for game in served["gamble"]] == [f"game {number}" for number in range(14, 4, -1)]
    assert served["loyalty-rules"] == {
        "chat_minute": 5,
        "follow": 0,
        "subscription": 100,
        "gift": 50,
        "kick": 10,
        "bit": 1,
    }
    # Bob gave 7 kicks at 1 and 7 at 10; his first minute pays 1, his last 5; his gambles are draws, and the bot gave 1.
    # Ann has two minutes and wins 15 five times; Dora has a minute and loses 10 five times.
    leaders = [(row["username"], row["platform"], row["coins"]) for row in served["coins"]["leaderboard"]]
    assert leaders == [
        ("Dora", "twitch", 500 + 5 - 50),
        ("Ann", "kick", 10 + 75),
        ("Bobby", "kick", 7 + 70 + 1 + 5 + 1),
        ("Cy", "kick", 10),
        ("Ann", "twitch", 5),
        ("streamer_name", "kick", 5),
    ]
    assert served["coins"]["summary"] == {"total_coins": 644, "users_count": 6}


async def check_viewers(world: World) -> None:
    """Each viewer's account, by any spelling of the newest name."""
    oracle = world.oracle()
    for platform, name in (("kick", "BOBBY"), ("kick", "ann"), ("twitch", "Ann"), ("twitch", "dora"), ("kick", "poor")):
        served = await world.bot.get("coins/viewer", platform=platform, username=name)
        assert served == oracle.coins_viewer(world.user_id, platform, name)
    assert served["coins"] == -50
    assert served["rank"] is None
    assert await world.bot.status("coins/viewer?platform=kick&username=Bob") == 404


async def check_filters(world: World) -> None:
    """Alone and together; `since` and `until` at the very moment of a receipt."""
    numbers = world.oracle().numbers(world.user_id)
    middle = numbers.event_rows()[20].received_at
    filters: list[dict[str, Any]] = [
        {"platform": "twitch"},
        {"platform": "streamkit", "type": "song.played"},
        {"actor": ANN.name},
        {"actor": BOB.name.lower()},
        {"actor": DORA.name, "type": "gamble.played"},
        {"since": middle},
        {"until": middle},
        {"since": middle, "platform": "kick", "actor": BOB.name},
    ]
    for wanted in filters:
        rows = numbers.event_rows(**wanted)[:100]
        query = {name: value if isinstance(value, str) else value.isoformat() for name, value in wanted.items()}
        served = await world.bot.get("events-history", limit="100", **query)
        assert [told(row) for row in rows] == [
            (row["type"], row["platform"], row["actor"], row["message"]) for row in served
        ], wanted


def told(row: EventRow) -> tuple[Any, ...]:
    """What the answer has of it, but for the time, which is cut there."""
    return row.type, row.platform, row.actor, row.message


# ---------------------------------------------------------------------- pages


async def test_pages_of_seven_while_events_arrive_neither_repeat_nor_skip(world: World) -> None:
    await world.deliver([push for second in range(23) for push in games(world.evening, second, f"old {second}")])
    for number, path in enumerate(("events-history", "gamble", "wheel/history")):
        whole = [name_of(row) for row in await world.bot.get(path, at_least=world.at_least, limit="100")]
        assert len(whole) == len(set(whole)) >= (69 if path == "events-history" else 23)
        late = f"late {number}"  # happened before all others, and comes in the middle of the walk
        walked = await walk(world, path, 60 * (number + 1), games(world.evening, -1 - number, late))
        assert walked == whole + ([] if path == "events-history" else [late])  # which is in the order of receipt
        newest = [name_of(row) for row in await world.bot.get(path, limit="100")]
        assert newest[: len(newest) - len(walked)] != []
        assert set(newest) > set(walked)


async def walk(world: World, path: str, second: int, late: list[Push]) -> list[str]:
    """All rows, page by page; before each page but the first new events come, which happen from `second` on, and before
    the second page the `late` ones too."""
    rows: list[str] = []
    query = {"limit": "7"}
    for page in itertools.count():
        document = await world.bot.document(path, at_least=world.at_least, **query)
        found = [name_of(row) for row in document["data"]]
        rows += found
        if document["next"] is None:
            assert 0 < len(found) <= 7
            return rows
        assert len(found) == 7
        query["cursor"] = document["next"]
        await world.deliver([*games(world.evening, second + page, f"new {path} {page}"), *(late if page == 0 else [])])
    raise AssertionError


def games(evening: Evening, second: float, name: str) -> list[Push]:
    """A gamble, a spin and a message, all at one time."""
    plays, spins = (("kick", Person("1", f"{name} {does}")) for does in ("plays", "spins"))
    return [
        evening.push(
            evening.event(second, "gamble.played", plays, game_type=name, outcome="win", bet=1, payout=2),
            evening.event(second, "wheel.spun", spins, result=name),
        ),
        evening.kick_chat(second, ANN, name),
    ]


def name_of(row: dict[str, Any]) -> str:
    """What tells one row from all others."""
    return row.get("game_type") or row.get("result") or f"{row['actor']}: {row['message']}"
