"""The disk under the log, the spool and the read models fills up and is emptied again: 503, and nothing else is lost.

Two disks: a small tmpfs, where this user may mount one, and a limit on the size of the process's files, everywhere.
"""

from __future__ import annotations

import asyncio
import base64
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from streamkit.cli.simulate import story
from streamkit.keys import Keys
from streamkit.simulation.delivery import Delivery
from tests.drill import Platforms, check_numbers, readiness_of, sandbox_reader
from tests.program import Program
from tests.services.kafka import KafkaBroker
from tests.services.process import free_port

KEY = bytes(range(32))
TOKEN = Keys.derive(KEY).internal_token
SETTINGS = {
    "STREAMKIT_SECRET_KEY": base64.b64encode(KEY).decode(),
    "STREAMKIT_SANDBOX": "1",
    "STREAMKIT_RATE_LIMIT": "0",
}
DISK_BYTES = 32 << 20
DEADLINE_S = 60.0


class Disk:
    """The folder `data` is on it; `fill` and `empty` while a program runs there."""

    def __init__(self, data: Path, *, is_mounted: bool) -> None:
        self._filler = data / "filler"
        self._is_mounted = is_mounted

    def fill(self, pid: int) -> None:
        """From now on nothing more can be written."""
        if not self._is_mounted:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
            return
        with self._filler.open("wb", buffering=0) as file:
            for size in (1 << 20, 4096):
                try:
                    while file.write(b"x" * size):
                        pass
                except OSError:
                    continue

    def empty(self, pid: int) -> None:
        """There is room again."""
        if self._is_mounted:
            self._filler.unlink()
        else:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@pytest.fixture(params=["tmpfs", "limit"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    data = tmp_path / "data"
    data.mkdir()
    if request.param == "limit":
        yield Disk(data, is_mounted=False)
        return
    if shutil.which("mount") is None:
        pytest.skip("there is no mount here")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(data)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("this user may not mount a tmpfs")
    yield Disk(data, is_mounted=True)
    subprocess.run(["umount", "-l", str(data)], check=True)


async def refused(http: aiohttp.ClientSession, url: str, delivery: Delivery) -> None:
    """Returns at the first 503 to the delivery, sent again and again; fails the test after a deadline."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            async with http.post(url + delivery.path, data=delivery.body, headers=delivery.headers) as answer:
                if answer.status == 503:
                    assert answer.headers["Retry-After"] == "1"
                    assert (await answer.json())["error"] == "unavailable"
                    return
                assert answer.status < 300
            await asyncio.sleep(0.01)


async def all_folded(http: aiohttp.ClientSession, up: Program) -> str:
    """The log's ends, once everything on it is folded and nothing waits."""

    def done(now: Any) -> bool:
        return bool(
            now["status"] == "ready" and now["lag_events"] == 0 and now.get("spool", {"events": 0})["events"] == 0
        )

    ends = (await readiness_of(http, up, TOKEN, done))["ends"]
    return ",".join(f"{partition}:{end}" for partition, end in ends.items())


@pytest.mark.drill
async def test_up_with_its_log_and_its_read_models_on_a_full_disk(tmp_path: Path, disk: Disk) -> None:
    sent = story(41, 400, rate=None, duplicates=0.1, shuffle=0.2)
    async with aiohttp.ClientSession() as http:
        with Program(tmp_path, "up", port=free_port(), **SETTINGS) as up:
            user_id, reader = sandbox_reader(http, up.url, tmp_path, **SETTINGS)
            platforms = Platforms(http, lambda: up.url, sent)
            delivering = asyncio.create_task(platforms.deliver())
            await platforms.reached(100)
            disk.fill(up.process.pid)
            await refused(http, up.url, sent[-1])
            await readiness_of(
                http, up, TOKEN, lambda now: "The event log did not take the last event." in now["reasons"]
            )
            assert (await reader.get("overview"))["events"]["total"] > 0, "reads go on"
            disk.empty(up.process.pid)
            await delivering
            assert platforms.retries > 0
            await check_numbers(reader, user_id, tmp_path, sent, await all_folded(http, up), **SETTINGS)
            await asyncio.to_thread(up.kill)
            await asyncio.to_thread(up.start)
            reader.url = up.url
            await check_numbers(reader, user_id, tmp_path, sent, await all_folded(http, up), **SETTINGS)


@pytest.mark.drill
async def test_up_with_its_spool_on_a_full_disk(tmp_path: Path, disk: Disk, kafka_broker: KafkaBroker) -> None:
    settings = SETTINGS | {"STREAMKIT_LOG_URL": f"kafka://{kafka_broker.bootstrap}", "STREAMKIT_SPOOL_AFTER_MS": "200"}
    sent = story(42, 300, rate=None, duplicates=0.1, shuffle=0.2)
    async with aiohttp.ClientSession() as http:
        with Program(tmp_path, "up", port=free_port(), **settings) as up:
            user_id, reader = sandbox_reader(http, up.url, tmp_path, **settings)
            platforms = Platforms(http, lambda: up.url, sent)
            kafka_broker.process.suspend()
            try:
                delivering = asyncio.create_task(platforms.deliver())
                await platforms.reached(100)
                disk.fill(up.process.pid)
                await refused(http, up.url, sent[-1])
                await readiness_of(
                    http, up, TOKEN, lambda now: any("Neither the event log nor" in why for why in now["reasons"])
                )
                disk.empty(up.process.pid)
                await delivering
                assert platforms.retries > 0
            finally:
                kafka_broker.process.resume()
            await check_numbers(reader, user_id, tmp_path, sent, await all_folded(http, up), **settings)


@pytest.mark.drill
async def test_read_models_alone_on_a_full_disk(tmp_path: Path, disk: Disk, kafka_broker: KafkaBroker) -> None:
    """Kafka goes on taking deliveries; the fold waits for room and goes on by itself."""
    settings = SETTINGS | {"STREAMKIT_LOG_URL": f"kafka://{kafka_broker.bootstrap}"}
    sent = story(43, 3000, rate=None, duplicates=0.1, shuffle=0.2)
    async with aiohttp.ClientSession() as http:
        with Program(tmp_path, "up", port=free_port(), **settings) as up:
            user_id, reader = sandbox_reader(http, up.url, tmp_path, **settings)
            disk.fill(up.process.pid)
            platforms = Platforms(http, lambda: up.url, sent)
            await platforms.deliver()
            assert platforms.retries == 0
            await readiness_of(
                http, up, TOKEN, lambda now: any("cannot be folded at the moment" in why for why in now["reasons"])
            )
            disk.empty(up.process.pid)
            await check_numbers(reader, user_id, tmp_path, sent, await all_folded(http, up), **settings)
