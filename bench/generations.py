"""Reads beside a rebuild, and across promotions: `python -m bench.generations [--events N]`.

One client asks `up` for what no cache has seen, one request at a time: with nothing else going on, while `streamkit rebuild`
folds two partitions, and while generations are promoted and gone back from.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import itertools
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from bench.big_log import SEED_PATHS, TOKEN, register, wait_folded
from bench.client import Client
from bench.deployment import Deployment
from bench.load import result_of
from bench.processes import server
from bench.rebuild import make_log
from bench.report import Row, print_rows
from projector.answering import PATH
from schemas.control import GenerationPromoted
from schemas.event import utc_now
from streamkit.generations import Generations, tell
from streamkit.keys import Keys
from streamkit.log.sqlite import SqliteLog

QUIET_S = 10.0
CHANGES = 6


def measure(scratch: Path, *, count: int) -> list[Row]:
    """Rows for a log of `count` events in two partitions."""
    deployment = Deployment(scratch / "generations")
    deployment.env |= {"STREAMKIT_INTERNAL_TOKEN": TOKEN, "STREAMKIT_PARTITIONS": "2"}
    keys = Keys.derive(base64.b64decode(deployment.env["STREAMKIT_SECRET_KEY"]), None)
    path = deployment.data_dir / "log.sqlite"
    asyncio.run(make_log(path, count, partitions=2))
    credentials = itertools.cycle(asyncio.run(register(path, keys)))
    with server("streamkit", "up", "--port", "0", env=deployment.env) as up:
        wait_folded(up.port)
        asks = _asks(credentials)
        with Client(up.port) as client:
            began = time.monotonic()
            quiet = _read(client, asks, lambda: time.monotonic() - began > QUIET_S)
            rebuilding = _start(deployment, "rebuild")
            beside = _read(client, asks, lambda: rebuilding.poll() is not None)
            told = msgspec.json.decode((rebuilding.communicate()[0] or b"{}").splitlines()[-1])
            changing = threading.Thread(target=lambda: asyncio.run(_change(path, up.port)))
            changing.start()
            across = _read(client, asks, lambda: not changing.is_alive())
            changing.join()
    p99, p99_beside = result_of(quiet, {}, 1.0).p99_ms, result_of(beside, {}, 1.0).p99_ms
    longest, usual = 1000 * max(across), 1000 * max(quiet)
    at = f"{count:,} events"
    return [
        Row(f"rebuild of two partitions beside reads, {at}", "events/s", told["events_per_s"], "told", True),
        Row("uncached GET, nothing beside it, p99", "ms", p99, "told", True),
        Row("the same beside a rebuild", "ms", p99_beside, "≤ 2 × that", p99_beside <= 2 * p99),
        Row("the longest, nothing beside it", "ms", usual, "told", True),
        Row(f"the longest across {CHANGES} changes of generation", "ms", longest, "≤ 50 more", longest - usual <= 50),
    ]


def _asks(credentials: Iterator[Mapping[str, str]]) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Each broadcaster asks each route in turn: what comes again has left the cache long since."""
    for headers in credentials:
        for path in SEED_PATHS:
            yield f"/api/public/v2/{path}", headers


def _read(client: Client, asks: Iterator[tuple[str, Mapping[str, str]]], done: Callable[[], bool]) -> list[float]:
    """Seconds of each read. Raises RuntimeError for one that is no 2xx."""
    waits = []
    while not done():
        path, headers = next(asks)
        began = time.perf_counter()
        client.get(path, headers)
        waits.append(time.perf_counter() - began)
    return waits


def _start(deployment: Deployment, *command: str) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STREAMKIT_")}
    return subprocess.Popen(
        [sys.executable, "-m", "streamkit", *command, "--json"],
        env={**environment, **deployment.env},
        stdout=subprocess.PIPE,
    )


async def _change(path: Path, port: int) -> None:
    """To the new generation and back, again and again, as the commands do; here, so that no command's start is measured."""
    log, generations = await SqliteLog.open(path), Generations()
    await generations.catch_up(log)
    with Client(port) as client:
        for number in itertools.islice(itertools.cycle((2, 1)), CHANGES):
            await tell(log, generations, GenerationPromoted(at=utc_now(), by="bench", generation=number))
            while _answers(client) != {number}:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    await log.close()


def _answers(client: Client) -> set[int]:
    """The generations that partitions are answered from."""
    told = msgspec.json.decode(client.get(PATH, {"Authorization": f"Bearer {TOKEN}"}))
    return {one["generation"] for one in told["partitions"].values()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    with tempfile.TemporaryDirectory() as folder:
        print_rows(measure(Path(folder), count=parser.parse_args().events))
