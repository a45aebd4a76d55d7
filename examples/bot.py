"""A streamer's own bot: it pushes what no platform sends, and reads the numbers back. docs/first-party.md tells it all.

Needs aiohttp, and credentials with the scopes `read events:write`:

    BOT_URL=http://127.0.0.1:8080 BOT_CLIENT_ID=skc_… BOT_CLIENT_SECRET=sks_… BOT_JWT=eyJ… python examples/bot.py
"""

import asyncio
import json
import os
import uuid

import aiohttp

URL = os.environ["BOT_URL"]
CREDENTIALS = {
    "X-Client-Id": os.environ["BOT_CLIENT_ID"],
    "X-Client-Secret": os.environ["BOT_CLIENT_SECRET"],
    "Authorization": f"Bearer {os.environ['BOT_JWT']}",
}
ANNA = {"platform": "twitch", "id": "42", "name": "Anna"}
BEN = {"platform": "kick", "id": "4711", "name": "ben_k"}


def event(kind: str, actor: dict[str, str] | None = None, **data: object) -> dict[str, object]:
    """An event with an id of its own, made once: sent again under it, it still counts once."""
    return {"id": str(uuid.uuid4()), "type": kind, "actor": actor, "data": data}


async def push(http: aiohttp.ClientSession, *events: dict[str, object]) -> str:
    """Send until the log has them; gives back the position to read from."""
    while True:
        async with http.post(f"{URL}/ingest/v1/events", json=events) as answer:
            if answer.status in (429, 503):  # too fast, or the log is away: the same again, later
                await asyncio.sleep(int(answer.headers["Retry-After"]))
                continue
            document = await answer.json()
            if not document["ok"]:
                raise SystemExit(f"{document['message']} {document.get('errors', '')}")
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
            async with http.get(f"{URL}/api/public/v2/{path}", headers=latest) as answer:
                print(path, json.dumps((await answer.json())["data"]))


asyncio.run(main())
