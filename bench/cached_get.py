"""Cached GET beside bare aiohttp that returns a body of the same size, one process each, in the same run.

`python -m bench.cached_get [--seconds S] [--path PATH]` prints both rates and their ratio; `measure` gives them to
the bench's table. The server under test is the api room on a real projector.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import urllib.request
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import msgspec
import uvloop
from msgspec import Struct

from api.app import ApiRoom, build_app
from bench.processes import load, request_bytes, server
from projector.run import Projector
from schemas.control import BroadcasterRegistered, PlatformConnected, encode_control
from schemas.event import Event, encode_event
from schemas.kinds import ChatMessage, Viewer
from streamkit.credentials import Credentials
from streamkit.directory import Directory
from streamkit.front import Front
from streamkit.issuing import issue_client, issue_token
from streamkit.keys import Keys
from streamkit.lifecycle import serve
from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import EVENTS, Record
from streamkit.redis import open_soft_state

USER = 1
PATH = "/api/public/v2/events-history?limit=50"
_EVENTS = 200
_SLICE_S = 0.5


class Measured(Struct, frozen=True):
    """Requests a second of both servers at `body_bytes` a body, and the first as a part of the second."""

    cached_per_s: float
    baseline_per_s: float
    ratio: float
    body_bytes: int


def measure(seconds: float, path: str = PATH, connections: int = 32) -> Measured:
    """The median over short slices: both servers run throughout and are loaded in turn, so that a busy machine
    slows both alike."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        scratch = Path(folder)
        cached = stack.enter_context(server("bench.cached_get", "--serve", folder))
        headers = msgspec.json.decode((scratch / "credentials.json").read_bytes(), type=dict[str, str])
        request = urllib.request.Request(f"http://127.0.0.1:{cached.port}{path}", headers=headers)
        with urllib.request.urlopen(request) as response:
            body_bytes = len(response.read())
        bare = stack.enter_context(server("bench.bare", "--bytes", str(body_bytes)))
        rates: dict[int, list[float]] = {cached.port: [], bare.port: []}
        for port in (bare.port, cached.port) * max(2, int(seconds / 2 / _SLICE_S)):
            asked = request_bytes("GET", path if port == cached.port else "/", headers)
            found = load(port, [asked], scratch, connections=connections, seconds=_SLICE_S, repeat=True)
            if set(found.statuses) != {"200"}:
                raise RuntimeError(f"answers were {found.statuses}")
            rates[port].append(found.per_s)
    ratios = [a / b for a, b in zip(rates[cached.port], rates[bare.port], strict=True)]
    return Measured(median(rates[cached.port]), median(rates[bare.port]), round(median(ratios), 3), body_bytes)


async def _serve(folder: Path) -> None:
    log, directory = MemoryLog(), Directory()
    keys = Keys.derive(bytes(32))
    now = datetime.now(UTC)
    client = issue_client(keys, USER, ["read"], at=now)
    token = issue_token(
        keys, user_id=USER, client_id=client.record.client_id, scopes=["read"], lifetime=timedelta(days=1), at=now
    )
    for record in (
        BroadcasterRegistered(at=now, user_id=USER, name="Streamer"),
        PlatformConnected(at=now, user_id=USER, platform="kick", platform_id="1", username="streamer"),
        client.record,
        token.record,
    ):
        directory.apply(encode_control(record))
    appended = await log.append(
        EVENTS, [Record(str(USER), encode_event(_chat(number, now))) for number in range(_EVENTS)]
    )
    projector = Projector(log, folder)
    await projector.start()
    await projector.reads.ask(USER, (), min_position=appended[-1].position, wait_s=30)
    soft = await open_soft_state(None, log.log_id)
    front = Front(Credentials(directory, keys), rate_limit=0, cors_origins=("*",))
    room = ApiRoom(projector.reads, directory, soft, front, timezone=UTC)
    await room.start()
    headers = {
        "X-Client-Id": client.record.client_id,
        "X-Client-Secret": client.client_secret,
        "Authorization": f"Bearer {token.jwt}",
    }
    (folder / "credentials.json").write_bytes(msgspec.json.encode(headers))
    listening = await serve(build_app(room), "127.0.0.1", 0)
    print(f"ready {listening.url}", flush=True)
    await asyncio.Event().wait()


def _chat(number: int, now: datetime) -> Event:
    at = now - timedelta(seconds=_EVENTS - number)
    return Event(
        event_id=f"kick:bench-{number}",
        natural_key=None,
        type="chat.message.sent",
        platform="kick",
        user_id=USER,
        actor=Viewer(str(number), f"viewer{number}"),
        occurred_at=at,
        received_at=at,
        data=ChatMessage(message_id=str(number), message=f"message number {number}, of usual length"),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve", type=Path)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--path", default=PATH)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        uvloop.run(_serve(arguments.serve))
    else:
        found = measure(arguments.seconds, arguments.path)
        print(
            f"cached GET {found.cached_per_s:,.0f}/s, bare aiohttp {found.baseline_per_s:,.0f}/s, "
            f"ratio {found.ratio:.2f} at {found.body_bytes} bytes"
        )
