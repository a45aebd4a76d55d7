"""A log that grows while `up` folds it: memory at each size, then uncached GETs at the full one.

`python -m bench.big_log [--events N]`. Events of 1,000 broadcasters are appended to the SQLite log beside the running
`up`; its memory is read at a tenth and at a fifth of the events, with nothing left to fold. Then every broadcaster asks
each route once, a path that no cache has seen, one request at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import itertools
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from bench.client import Client
from bench.deployment import Deployment
from bench.live_fold import events
from bench.load import result_of
from bench.processes import resident_mib, server
from bench.report import Row, print_rows
from schemas.control import BroadcasterRegistered, PlatformConnected, encode_control
from streamkit.issuing import issue_client, issue_token
from streamkit.keys import Keys
from streamkit.log.protocol import CONTROL, EVENTS, Record
from streamkit.log.sqlite import SqliteLog

BROADCASTERS = 1_000
CHUNK = 20_000
TOKEN = "bench-internal-token"
SEED_PATHS = (
    "overview",
    "stream-status",
    "subscriptions-summary",
    "subscriptions-active",
    "subscriptions-history",
    "coins",
    "kicks",
    "events-history",
)
FILTERED = (
    "events-history?type=channel.subscription.gifts&limit=100",
    "events-history?type=chat.message.sent&limit=100",
)


def measure(scratch: Path, *, count: int, clients: int = BROADCASTERS) -> list[Row]:
    """Memory and uncached GET rows at `count` events; `clients` of the broadcasters ask."""
    deployment = Deployment(scratch / "big")
    deployment.env["STREAMKIT_INTERNAL_TOKEN"] = TOKEN
    path = deployment.data_dir / "log.sqlite"
    keys = Keys.derive(base64.b64decode(deployment.env["STREAMKIT_SECRET_KEY"]), None)
    credentials = asyncio.run(register(path, keys))
    records = events(count, broadcasters=BROADCASTERS, viewers=50_000)
    memory: list[float] = []
    with server("streamkit", "up", "--port", "0", env=deployment.env) as up:
        for upto in (count // 10, count // 10, count - 2 * (count // 10)):
            asyncio.run(_append(path, itertools.islice(records, upto)))
            wait_folded(up.port)
            memory.append(resident_mib(up.pid))
        seeds = _ask_all(up.port, credentials[:clients], SEED_PATHS)
        filtered = _ask_all(up.port, credentials[: min(clients, 200)], FILTERED)
    growth = memory[1] / memory[0] - 1
    at = f"{count:,} events"
    return [
        Row(f"memory of up at {count // 10:,} events", "MiB", memory[0], "< 700", memory[0] < 700),
        Row(f"memory of up at {count // 5:,} events", "MiB", memory[1], "within 15 % of that", growth <= 0.15),
        Row(f"memory of up at {at}", "MiB", memory[2], "told", True),
        Row(f"uncached GET at {at}, seed's parameters, p99", "ms", seeds, "< 10", seeds < 10),
        Row(f"uncached GET at {at}, filtered, p99", "ms", filtered, "< 100", filtered < 100),
    ]


async def register(path: Path, keys: Keys) -> list[Mapping[str, str]]:
    """A broadcaster and a client for each `user_id`; their credential headers."""
    now = datetime.now(UTC)
    records: list[Record] = []
    headers: list[Mapping[str, str]] = []
    for user_id in range(BROADCASTERS):
        client = issue_client(keys, user_id, ["read"], at=now)
        token = issue_token(
            keys,
            user_id=user_id,
            client_id=client.record.client_id,
            scopes=["read"],
            lifetime=timedelta(days=1),
            at=now,
        )
        for event in (
            BroadcasterRegistered(at=now, user_id=user_id, name=f"Streamer {user_id}"),
            PlatformConnected(
                at=now, user_id=user_id, platform="kick", platform_id=str(user_id), username=f"s{user_id}"
            ),
            PlatformConnected(
                at=now, user_id=user_id, platform="twitch", platform_id=str(user_id), username=f"s{user_id}"
            ),
            client.record,
            token.record,
        ):
            records.append(Record(str(user_id), encode_control(event)))
        headers.append(
            {
                "X-Client-Id": client.record.client_id,
                "X-Client-Secret": client.client_secret,
                "Authorization": f"Bearer {token.jwt}",
            }
        )
    log = await SqliteLog.open(path)
    await log.append(CONTROL, records)
    await log.close()
    return headers


async def _append(path: Path, records: itertools.islice[bytes]) -> None:
    log = await SqliteLog.open(path)
    while chunk := list(itertools.islice(records, CHUNK)):
        await log.append(EVENTS, [Record("0", value) for value in chunk])
    await log.close()


def wait_folded(port: int) -> None:
    """Until nothing is left to fold."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with Client(port) as client:
        while True:
            ready = msgspec.json.decode(client.get("/readyz", headers))
            if ready["lag_events"] == 0:
                return
            time.sleep(0.2)


def _ask_all(port: int, credentials: list[Mapping[str, str]], paths: tuple[str, ...]) -> float:
    """p99 in milliseconds over every path for every client."""
    waits = []
    with Client(port) as client:
        for headers in credentials:
            for path in paths:
                began = time.perf_counter()
                client.get(f"/api/public/v2/{path}", headers)
                waits.append(time.perf_counter() - began)
    return result_of(waits, {}, 1.0).p99_ms


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    with tempfile.TemporaryDirectory() as folder:
        print_rows(measure(Path(folder), count=parser.parse_args().events))
