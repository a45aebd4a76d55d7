"""The files of a process that takes deliveries: whose they are, and the copy of the control topic in them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from streamkit.directory import Directory
from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import CONTROL, EVENTS, EventLog, Record
from streamkit.log.sqlite import SqliteLog
from streamkit.standby import OfLog, count_left_behind, keep_copy, load_copy, newest_copy, take_file
from tests.streamkit.control_records import append, client, connected, registered, rotated

URL = "kafka://broker:9092"


@asynccontextmanager
async def copied(log: EventLog, file: SqliteLog) -> AsyncIterator[Directory]:
    """The directory of the copy, once that has all that `log` has; copying goes on within."""
    copying = asyncio.create_task(keep_copy(log, file))
    try:
        (end,) = await log.ends(CONTROL)
        async with asyncio.timeout(5):
            while (directory := await loaded(file)).position != end:
                await asyncio.sleep(0.005)
        yield directory
    finally:
        copying.cancel()
        await asyncio.gather(copying, return_exceptions=True)


async def loaded(file: SqliteLog) -> Directory:
    directory = Directory()
    await load_copy(file, directory)
    return directory


def of(log: EventLog, url: str = URL) -> OfLog:
    return OfLog(log.log_id, log.partitions(EVENTS), url)


async def test_the_copy_is_the_directory_and_follows_it(tmp_path: Path) -> None:
    log = MemoryLog(partitions=4)
    file = await take_file(tmp_path, of(log))
    await append(log, *(registered(user_id) for user_id in range(1, 2001)), client("c", 7), connected(7, "kick", "70"))
    async with copied(log, file.log) as directory:
        assert directory.highest_user_id == 2000
        assert directory.broadcaster_of("kick", "70") == 7
    await append(log, rotated("c", "h1", 10, 5))
    async with copied(log, file.log) as directory:  # goes on where it was
        client_ = directory.client("c")
        assert client_ is not None
        assert client_.secrets[0].hash == "h1"
    assert (await file.log.ends(CONTROL)) == (2003,)
    await file.close()
    found, directory = await newest_copy(tmp_path, URL)
    assert found == of(log)
    assert directory.position == 2003
    found, directory = await newest_copy(tmp_path, "kafka://another:9092")
    assert (found, directory.position) == (None, 0)
    await log.close()


async def test_a_copy_that_is_not_the_beginning_of_the_topic_is_made_anew(tmp_path: Path) -> None:
    log = MemoryLog()
    file = await take_file(tmp_path, of(log))
    await append(log, registered(1), registered(2))
    async with copied(log, file.log):
        pass
    for other_end in (registered(3),), (registered(3), registered(4), registered(5)):
        put_back = MemoryLog()
        await append(put_back, *other_end)
        async with copied(put_back, file.log) as directory:
            assert directory.broadcaster(1) is None
            assert directory.broadcaster(3) is not None
        await put_back.close()
    await file.close()
    await log.close()


async def test_the_copy_that_reaches_furthest_is_taken_and_what_is_no_copy_passed_over(tmp_path: Path) -> None:
    log, other = MemoryLog(partitions=4), MemoryLog()
    await append(log, registered(1))
    await append(other, *(registered(user_id) for user_id in range(1, 10)))
    first, second = await take_file(tmp_path, of(log)), await take_file(tmp_path, of(log))
    elsewhere, empty = await take_file(tmp_path, of(other, "kafka://b:1")), await take_file(tmp_path, of(log))
    (tmp_path / "torn.sqlite").write_bytes(b"no database" * 100)
    async with copied(log, first.log), copied(other, elsewhere.log):
        pass
    await append(log, registered(2))
    async with copied(log, second.log):
        pass
    found, directory = await newest_copy(tmp_path, URL)
    assert found == of(log)
    assert directory.highest_user_id == 2
    found, directory = await newest_copy(tmp_path / "nothing", URL)
    assert (found, directory.position) == (None, 0)
    for file in (first, second, elsewhere, empty):
        await file.close()
    await log.close()
    await other.close()


async def test_a_file_is_one_process_s_at_a_time_and_kept_for_its_owner(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    log = OfLog("aa", 4, URL)
    first, second = await take_file(folder, log), await take_file(folder, log)
    assert [file.path.name for file in (first, second)] == ["aa-0.sqlite", "aa-1.sqlite"]
    assert {path.stat().st_mode & 0o077 for path in (folder, *folder.iterdir())} == {0}
    assert await second.left_behind() is None
    await first.close()
    other = await take_file(folder, OfLog("bb", 4, URL))
    assert other.path.name == "bb-0.sqlite"
    assert await other.left_behind() is None, "another log's"
    left = await second.left_behind()
    assert left is not None
    assert left.path == first.path
    await left.log.append(EVENTS, [Record("1", b"x")])
    assert await count_left_behind(tmp_path) == 0, "held"
    await left.close()
    assert await count_left_behind(tmp_path) == 1
    again = await take_file(folder, log)
    assert (again.path, (await again.log.read(EVENTS, 0, 0)).values) == (first.path, [b"x"])
    await again.close(delete=True)
    assert not list(folder.glob("aa-0.sqlite*"))
    await second.close()
    await second.close()
    await other.close()


async def damaged(folder: Path, log: OfLog) -> None:
    """A file that held events, cut in two."""
    file = await take_file(folder, log)
    await file.log.append(EVENTS, [Record("1", b"x" * 1000)] * 200)
    await file.close()
    os.truncate(file.path, file.path.stat().st_size // 2)


async def test_a_damaged_file_is_kept_aside_and_keeps_nobody_from_going_on(tmp_path: Path) -> None:
    log = OfLog("aa", 4, URL)
    await damaged(tmp_path, log)
    assert (await newest_copy(tmp_path, URL))[0] is None
    file = await take_file(tmp_path, log)
    assert (file.path.name, await file.log.ends(EVENTS)) == ("aa-0.sqlite", (0,))
    assert next(name for name in os.listdir(tmp_path) if name.endswith(".damaged")).startswith("aa-0.sqlite.")
    await damaged(tmp_path, log)
    left = await file.left_behind()
    assert left is not None
    assert await left.log.ends(EVENTS) == (0,)
    assert sum(name.endswith(".damaged") for name in os.listdir(tmp_path)) == 2
    for one in (file, left):
        await one.close()
