"""`streamkit status`: the truth about every room, the log, the lag and what was lost or parked."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import click
import msgspec

from schemas.errors import UNREADABLE, BadSettings, LogUnavailable
from schemas.event import decode_event
from streamkit.addresses import DEFAULT_API_URL, DEFAULT_INGEST_URL, DEFAULT_PROJECTOR_URL, announced_urls
from streamkit.cli.common import EXIT_UNREACHABLE, emit, fail, json_option, opened_log, run, table
from streamkit.cli.records import read_to_end, say_unreadable
from streamkit.keys import keys_of
from streamkit.log.protocol import DEAD_LETTERS, EVENTS, EventLog
from streamkit.settings import Settings

ROOMS = ("ingest", "projector", "api")
LOOK_BACK = 1000
"""Records at the end of each partition in which the last event of a platform is looked for."""
_PROBE_S = 2.0


@click.command()
@json_option
def status(as_json: bool) -> None:
    """Every room: up or not; log ends, positions, lag, dead letters, the last event of each platform.

    \b
    Rooms are looked for at the addresses that processes left in the data folder, at STREAMKIT_PROJECTOR_URLS and
    at the default ports. Exit 3 when the log does not answer.
    Example:
      streamkit status
    """

    async def work(settings: Settings) -> dict[str, Any]:
        rooms = await _rooms(settings)
        try:
            async with opened_log(settings) as log:
                return rooms | await _log(log)
        except LogUnavailable as away:
            return rooms | {"log": {"error": str(away)}}

    document = run(work, as_json=as_json)
    emit(document, _text(document), as_json=as_json)
    if "error" in document["log"]:
        fail(document["log"]["error"], EXIT_UNREACHABLE, as_json=False)


async def _rooms(settings: Settings) -> dict[str, Any]:
    """`rooms`, and of the projectors that answer `positions`, `lag_events` and `lag_s` (None: none answers)."""
    try:
        token = settings.internal_token or keys_of(settings, create=False).internal_token
    except BadSettings:
        token = None  # no key, so no room can have run on this folder; a room elsewhere tells its status alone
    defaults = (DEFAULT_API_URL, DEFAULT_INGEST_URL, *(settings.projector_urls or (DEFAULT_PROJECTOR_URL,)))
    urls = dict.fromkeys((*announced_urls(settings.data_dir), *defaults))
    if settings.port:
        urls[f"http://{settings.host}:{settings.port}"] = None
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_PROBE_S)) as http:
        answers = await asyncio.gather(*(_probe(http, url, token) for url in urls))
    found = [answer for answer in answers if answer is not None]
    rooms = [
        {"room": room, "up": True, "status": answer["status"], "url": answer["url"], "reasons": answer["reasons"]}
        for room in ROOMS
        for answer in found
        if room in answer["rooms"]
    ]
    seen = {entry["room"] for entry in rooms}
    rooms += [
        {"room": room, "up": False, "status": None, "url": None, "reasons": []} for room in ROOMS if room not in seen
    ]
    folding = [answer for answer in found if "positions" in answer]
    return {
        "rooms": rooms,
        "positions": {p: position for answer in folding for p, position in answer["positions"].items()} or None,
        "lag_events": sum(answer["lag_events"] for answer in folding) if folding else None,
        "lag_s": max(answer["lag_s"] for answer in folding) if folding else None,
    }


async def _probe(http: aiohttp.ClientSession, url: str, token: str | None) -> dict[str, Any] | None:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        async with http.get(f"{url}/readyz", headers=headers) as answer:
            told = msgspec.json.decode(await answer.read())
            return {"url": url, "rooms": told.get("rooms", ()), "reasons": told.get("reasons", ()), **told}
    except (aiohttp.ClientError, OSError, TimeoutError, msgspec.MsgspecError, AttributeError):
        return None


async def _log(log: EventLog) -> dict[str, Any]:
    info = await log.info()
    ends: dict[str, dict[str, int]] = {}
    for partition in info:
        ends.setdefault(partition.topic, {})[str(partition.partition)] = partition.end
    letters = [partition for partition in info if partition.topic == DEAD_LETTERS]
    return {
        "log": {"log_id": log.log_id, "ends": ends},
        "dead_letters": {
            "count": sum(partition.end - partition.start for partition in letters),
            "bytes": sum(partition.size_bytes or 0 for partition in letters),
        },
        "last_event_at": await _last_events(log),
    }


async def _last_events(log: EventLog) -> dict[str, str | None]:
    """When the last event of each platform was received, as far as LOOK_BACK reaches."""
    last: dict[str, str | None] = {"kick": None, "twitch": None}
    for partition, end in enumerate(await log.ends(EVENTS)):
        async for entry in read_to_end(log, EVENTS, partition, max(0, end - LOOK_BACK)):
            try:
                event = decode_event(entry.value)
            except UNREADABLE:
                say_unreadable(EVENTS, entry)
                continue
            at = event.received_at.isoformat()
            last[event.platform] = max(last.get(event.platform) or "", at)
    return last


def _text(document: dict[str, Any]) -> str:
    rows = [(one["room"], one["status"] or "down", one["url"], "; ".join(one["reasons"])) for one in document["rooms"]]
    lines = [table(("ROOM", "STATUS", "ADDRESS", "WHY"), rows), ""]
    if "error" not in document["log"]:
        ends = document["log"]["ends"][EVENTS]
        positions = document["positions"] or {}
        folded = [(p, end, positions.get(p)) for p, end in ends.items()]
        lines += [table(("PARTITION", "LOG END", "FOLDED TO"), folded), ""]
        if document["lag_events"] is not None:
            lines.append(f"lag           {document['lag_events']} events, {document['lag_s']:.1f} s")
        letters = document["dead_letters"]
        lines.append(f"dead letters  {letters['count']} ({letters['bytes']} bytes)")
        lines += [f"last {name:8} {at or '-'}" for name, at in document["last_event_at"].items()]
    return "\n".join(lines)
