"""A log that moves: out of a running StreamKit, into another folder, into Kafka and back. The answers are the same.

`kill -9` meanwhile brings no record twice and loses none. A quarter of STREAMKIT_KILL9_ROUNDS says how often.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import subprocess
import time
from collections import defaultdict
from pathlib import Path

import aiohttp
import pytest

from streamkit.cli.simulate import story
from streamkit.log import open_log
from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import CONTROL, EVENTS, TOPICS, EventLog, Record
from streamkit.transfer.importing import import_log
from streamkit.transfer.ndjson import NdjsonSource
from streamkit.transfer.unfinished import taken
from tests.drill import Platforms, check_answers, check_numbers, log_records, pushes, sandbox_reader
from tests.program import STREAMKIT, Program, Reader, command
from tests.services.kafka import KafkaBroker
from tests.streamkit.cli.running import environment
from tests.streamkit.transfer.rows import fill, no_progress, rows
from tests.unreadable import UNREADABLE

ROUNDS = max(3, int(os.environ.get("STREAMKIT_KILL9_ROUNDS", "3")) // 4)
SETTINGS = {
    "STREAMKIT_SANDBOX": "1",
    "STREAMKIT_RATE_LIMIT": "0",
    "STREAMKIT_SECRET_KEY": base64.b64encode(bytes(range(32))).decode(),
}
DEADLINE_S = 60.0


def folder(tmp_path: Path, name: str) -> Path:
    made = tmp_path / name
    made.mkdir()
    return made


def serving(folder: Path, **settings: str) -> Program:
    """`streamkit up` on the folder."""
    return Program(folder, "up", port=0, **SETTINGS, **settings)


async def append(folder: Path, *values: bytes, url: str = "sqlite:") -> str:
    """Records of broadcaster 1 behind what is there; the Streamkit-Position after them."""
    log = await open_log(url, data_dir=folder / "data")
    try:
        appended = await log.append(EVENTS, [Record("1", value) for value in values])
    finally:
        await log.close()
    return f"{appended[-1].partition}:{appended[-1].position}"


def ends(folder: Path, **settings: str) -> str:
    """A Streamkit-Min-Position that holds the whole log."""
    parts = command(folder, "log", "info", **settings)["partitions"]
    return ",".join(f"{part['partition']}:{part['end']}" for part in parts if part["topic"] == EVENTS)


def open_letters(folder: Path, **settings: str) -> list[tuple[str, str]]:
    listed = command(folder, "dead-letters", "list", **settings)
    return [(one["reason"], one["type"]) for one in listed]


async def test_a_log_is_exported_while_it_grows_and_answers_the_same_elsewhere(tmp_path: Path) -> None:
    here, there = folder(tmp_path, "here"), folder(tmp_path, "there")
    sent = story(21, 600, rate=None, duplicates=0.1, shuffle=0.2)
    async with aiohttp.ClientSession() as http:
        with serving(here) as up:
            user_id, reader = sandbox_reader(http, up.url, here, **SETTINGS)
            platforms = Platforms(http, lambda: up.url, sent)
            delivering = asyncio.create_task(platforms.deliver())
            await platforms.reached(200)
            early = await asyncio.to_thread(command, here, "log", "export", "--to", "early.ndjson")
            await delivering
            bot = Platforms(http, lambda: up.url, pushes(22, 100, reader.headers))
            await bot.deliver()
            await check_answers(reader, user_id, here, bot.min_position)
            on_log = log_records(here)
            exported = [json.loads(line) for line in (here / "early.ndjson").read_bytes().splitlines()]
            held = [line["value"] for line in exported if line["topic"] == EVENTS]
            assert 200 <= len(held) == early["topics"][EVENTS]
            assert held == [_told(record) for record in on_log[: len(held)]]
            for name in ("a.ndjson", "a.ndjson.zst", "a"):
                command(here, "log", "export", "--to", name)
        for name in ("a.ndjson.zst", "a"):  # and the third, below, through the whole of StreamKit
            other = folder(tmp_path, f"from-{name}")
            command(other, "log", "import", "--from", str(here / name))
            command(other, "log", "export", "--to", "a.ndjson")
            assert (other / "a.ndjson").read_bytes() == (here / "a.ndjson").read_bytes()
        command(there, "log", "import", "--from", str(here / "a.ndjson"))
        with serving(there) as up:
            reader.url = up.url
            assert log_records(there) == on_log
            await check_answers(reader, user_id, there, bot.min_position)


def _told(record: bytes) -> object:
    """An event without where it lies, which `log tail` tells beside it."""
    event = json.loads(record)
    return {name: value for name, value in event.items() if name not in ("partition", "position")}


async def test_from_sqlite_to_kafka_and_back_the_answers_are_the_same(tmp_path: Path, kafka_log_url: str) -> None:
    here, kafka, back = (folder(tmp_path, name) for name in ("here", "kafka", "back"))
    on_kafka = {"STREAMKIT_LOG_URL": kafka_log_url}
    sent = story(23, 400, rate=None, duplicates=0.1, shuffle=0.2)
    async with aiohttp.ClientSession() as http:
        with serving(here) as up:
            user_id, reader = sandbox_reader(http, up.url, here, **SETTINGS)
            platforms = Platforms(http, lambda: up.url, sent)
            await platforms.deliver()
            await append(here, *UNREADABLE)
            at_least = await append(here, b'"and this one is no event either"')
            await check_numbers(reader, user_id, here, sent, at_least)
            letters = open_letters(here)
            assert len(letters) == len(UNREADABLE) + 1
        command(here, "log", "export", "--to", "a")

        command(kafka, "log", "import", "--from", str(here / "a"), **on_kafka)
        with serving(kafka, **on_kafka) as up:
            await _same(reader, up, user_id, kafka, **on_kafka)
            assert open_letters(kafka, **on_kafka) == letters  # each once: the fold here found them in the same places
        command(kafka, "log", "export", "--to", "b.ndjson.zst", **on_kafka)

        command(back, "log", "import", "--from", str(kafka / "b.ndjson.zst"))
        with serving(back) as up:
            await _same(reader, up, user_id, back)
            assert open_letters(back) == letters
    assert log_records(back) == log_records(here)
    assert await stored(back) == await stored(here)


async def _same(reader: Reader, up: Program, user_id: int, folder: Path, **settings: str) -> None:
    reader.url = up.url
    await check_answers(reader, user_id, folder, ends(folder, **settings), **settings)


async def stored(folder: Path) -> list[tuple[str, bytes]]:
    """Events and control of a folder's log, in order."""
    log = await open_log("sqlite:", data_dir=folder / "data")
    try:
        return [(row.key, row.value) for row in await rows(log) if row.topic in (EVENTS, CONTROL)]
    finally:
        await log.close()


async def uninterrupted(path: Path, partitions: int) -> EventLog:
    """What the import of a file makes of a new log."""
    log = MemoryLog(partitions)
    with taken(path.parent) as note:
        await import_log(log, NdjsonSource(path, compressed=False), "", note, no_progress)
    return log


async def by_key(log: EventLog, *topics: str) -> dict[tuple[str, str], list[bytes]]:
    """What each key of each topic has, in its order; without the record that names the log."""
    found = defaultdict(list)
    for row in await rows(log):
        if (row.topic, row.key) != (CONTROL, "log") and row.topic in (topics or TOPICS):
            found[row.topic, row.key].append(row.value)
    return dict(found)


def start(folder: Path, *arguments: str, **settings: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*STREAMKIT, *arguments],
        env=environment(folder, **settings),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


async def progressed(log: EventLog, process: subprocess.Popen[bytes], to: int) -> bool:
    """Whether the events log came to hold `to` records before the process ended."""
    deadline = time.monotonic() + DEADLINE_S
    while process.poll() is None:
        if sum(await log.ends(EVENTS)) >= to:
            return True
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)
    return False


@pytest.fixture(params=["sqlite", "kafka"])
def log_url(request: pytest.FixtureRequest) -> str:
    """Of an empty log."""
    return "sqlite:" if request.param == "sqlite" else str(request.getfixturevalue("kafka_log_url"))


@pytest.mark.drill
async def test_kill_9_of_an_import_again_and_again(tmp_path: Path, log_url: str) -> None:
    here, there = folder(tmp_path, "here"), folder(tmp_path, "there")
    settings = {"STREAMKIT_LOG_URL": log_url}
    count = (ROUNDS + 1) * 15_000
    source = await open_log("sqlite:", data_dir=here / "data", partitions=2)
    target = await open_log(log_url, data_dir=there / "data")
    try:
        await fill(source)
        values = [b'{"number":%d,"beside":"%s"}' % (number, b"x" * 200) for number in range(count)]
        await source.append(EVENTS, [Record(str(n % 9), value) for n, value in enumerate(values)])
        command(here, "log", "export", "--to", "a.ndjson")
        moments, killed = random.Random(count), 0
        for number in range(ROUNDS):
            begun = sum(await target.ends(EVENTS))
            process = start(there, "log", "import", "--from", str(here / "a.ndjson"), **settings)
            if await progressed(target, process, begun + moments.randrange(0, 10_000)):
                await asyncio.sleep(moments.random() * 0.02)  # anywhere in the next append, not right after the last
                process.kill()
                killed += 1
            await asyncio.to_thread(process.wait)
            assert number == 0 or sum(await target.ends(EVENTS)) > 0
        done = await asyncio.to_thread(command, there, "log", "import", "--from", str(here / "a.ndjson"), **settings)
        assert killed == ROUNDS
        assert done["appended"] < done["records"]
        assert await by_key(target) == await by_key(await uninterrupted(here / "a.ndjson", target.partitions(EVENTS)))
        assert await by_key(target, EVENTS) == await by_key(source, EVENTS)
    finally:
        await source.close()
        await target.close()
    assert not (there / "data" / "import.json").exists()


@pytest.mark.drill
async def test_kill_9_of_an_export_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    here = folder(tmp_path, "here")
    await append(here, *(b'{"number":%d}' % number for number in range(30_000)))
    for name in ("a.ndjson", "a"):
        process = start(here, "log", "export", "--to", name)
        deadline = time.monotonic() + DEADLINE_S
        while not (here / f"{name}.partial").exists():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.001)
        process.kill()
        await asyncio.to_thread(process.wait)
        assert not (here / name).exists()
        assert command(here, "log", "export", "--to", name)["records"] == 30_000
    assert sorted(path.name for path in here.iterdir()) == ["a", "a.ndjson", "data"]


@pytest.mark.drill
async def test_an_import_outlives_its_broker_or_goes_on_after_it(tmp_path: Path, kafka_broker: KafkaBroker) -> None:
    here, there = folder(tmp_path, "here"), folder(tmp_path, "there")
    settings = {"STREAMKIT_LOG_URL": f"kafka://{kafka_broker.bootstrap}"}
    (here / "a.ndjson").write_bytes(
        b"".join(
            b'{"topic":"streamkit.events","partition":0,"position":%d,"key":"%d","value":{"number":%d}}\n'
            % (n, n % 9, n)
            for n in range(60_000)
        )
    )
    await (await open_log(settings["STREAMKIT_LOG_URL"], data_dir=there)).close()
    process = start(there, "log", "import", "--from", str(here / "a.ndjson"), **settings)
    log = await open_log(settings["STREAMKIT_LOG_URL"], data_dir=there)
    try:
        begun = await progressed(log, process, 1)
    finally:
        await log.close()
    await asyncio.to_thread(kafka_broker.kill)
    await asyncio.to_thread(kafka_broker.start)
    exit_code = await asyncio.to_thread(process.wait)
    if exit_code == 3:
        command(there, "log", "import", "--from", str(here / "a.ndjson"), **settings)
    assert (begun, exit_code) in ((True, 0), (True, 3))
    log = await open_log(settings["STREAMKIT_LOG_URL"], data_dir=there)
    try:
        assert await by_key(log) == await by_key(await uninterrupted(here / "a.ndjson", log.partitions(EVENTS)))
    finally:
        await log.close()
