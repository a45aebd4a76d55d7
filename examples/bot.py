"""A streamer's own bot: it pushes what no platform sends, and reads the numbers back. docs/first-party.md tells it all.

Needs aiohttp, and credentials with the scopes `read events:write`:

    BOT_URL=http://127.0.0.1:8080 BOT_CLIENT_ID=skc_… BOT_CLIENT_SECRET=sks_… BOT_JWT=eyJ… .venv/bin/python examples/bot.py

Where the rooms run apart, BOT_URL is that of `ingest` (http://127.0.0.1:8081), and BOT_API_URL that of `api`.
"""

import asyncio
import json
import os
import uuid
from typing import Any

import aiohttp


def setting(name: str) -> str:
    """What the environment says."""
    if value := os.environ.get(name):
        return value
    raise SystemExit(f"Set {name}: the top of this file shows how it is started.")


URL = setting("BOT_URL").rstrip("/")
API_URL = os.environ.get("BOT_API_URL", URL).rstrip("/")
CREDENTIALS = {
    "X-Client-Id": setting("BOT_CLIENT_ID"),
    "X-Client-Secret": setting("BOT_CLIENT_SECRET"),
    "Authorization": f"Bearer {setting('BOT_JWT')}",
}
ANNA = {"platform": "twitch", "id": "42", "name": "Anna"}
BEN = {"platform": "kick", "id": "4711", "name": "ben_k"}


def event(kind: str, actor: dict[str, str] | None = None, **data: object) -> dict[str, object]:
    """An event with an id of its own, made once: sent again under it, it still counts once."""
    return {"id": str(uuid.uuid4()), "type": kind, "actor": actor, "data": data}


async def data_of(answer: aiohttp.ClientResponse) -> Any:
    """The `data` of an answer; a failure ends the bot with StreamKit's own sentence."""
    document = await answer.json()
    if not document["ok"]:
        mistakes = "".join(f"\n  {one['path']}: {one['message']}" for one in document.get("errors", ()))
        raise SystemExit(f"{answer.method} {answer.url.path}: {document['error']}: {document['message']}{mistakes}")
    return document["data"]


async def push(http: aiohttp.ClientSession, *events: dict[str, object]) -> str:
    """Send until the log has them; gives back the position to read from."""
    while True:
        async with http.post(f"{URL}/ingest/v1/events", json=events) as answer:
            if answer.status in (429, 503):  # too fast, or the log is away: the same again, later
                await asyncio.sleep(int(answer.headers["Retry-After"]))
                continue
            await data_of(answer)
            return answer.headers["Streamkit-Position"]


async def main() -> None:
    async with aiohttp.ClientSession(headers=CREDENTIALS) as http:
        song, giveaway = str(uuid.uuid4()), str(uuid.uuid4())
        await push(
            http,
            event("song.requested", ANNA, request_id=song, song_url="https://youtu.be/dQw4w9WgXcQ"),
            event("giveaway.opened", giveaway_id=giveaway, title="A key", keyword="!join", prize="Celeste"),
            event("wheel.configured", title="Wheel of Fortune", segments=["100 coins", "Hydrate"]),
        )
        await push(http, event("giveaway.entered", ANNA, giveaway_id=giveaway))
        await push(http, event("giveaway.entered", BEN, giveaway_id=giveaway))
        position = await push(
            http,
            event("giveaway.drawn", giveaway_id=giveaway, winner=BEN),
            event("wheel.spun", ANNA, result="Hydrate"),
            event("coins.adjusted", BEN, amount=100, reason="hello"),
            event("gamble.played", BEN, game_type="coinflip", outcome="win", bet=10, payout=20),
        )
        for path in ("song-request", "giveaway", "wheel", "gamble", "coins"):
            latest = {"Streamkit-Min-Position": position}  # what was pushed is in the answer
            async with http.get(f"{API_URL}/api/public/v2/{path}", headers=latest) as answer:
                print(path, json.dumps(await data_of(answer)))


try:
    asyncio.run(main())
except (aiohttp.ClientError, TimeoutError) as error:
    raise SystemExit(f"No StreamKit answers at {URL} or {API_URL} ({error}): start it, or correct BOT_URL.") from None
