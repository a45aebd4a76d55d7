"""What only a file can do to a log: fill the disk, be locked, be somebody else's."""

from __future__ import annotations

import asyncio
import os
import resource
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from schemas.errors import LogMisconfigured, LogUnavailable
from streamkit.log import sqlite as adapter
from streamkit.log.protocol import CONTROL, DEAD_LETTERS, EVENTS, VAULT, Record
from streamkit.log.sqlite import SqliteLog

WAIT_S = 20.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "log.sqlite"


@pytest.fixture
async def log(path: Path) -> AsyncIterator[SqliteLog]:
    log = await SqliteLog.open(path)
    yield log
    await log.close()


async def test_the_files_are_for_their_owner_alone(log: SqliteLog, path: Path) -> None:
    await log.append(EVENTS, [Record("1", b"x")])
    files = sorted(path.parent.iterdir())
    assert [file.name for file in files] == ["log.sqlite", "log.sqlite-shm", "log.sqlite-wal"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


async def test_a_value_put_there_by_another_program_is_read_as_bytes(log: SqliteLog, path: Path) -> None:
    """Whatever its type in the file: what to make of it is the fold's to say, not the reader's to die of."""
    other = sqlite3.connect(path)
    with other:
        other.executemany("INSERT INTO events_0 (key, value) VALUES (?, ?)", [("1", "text"), ("1", 42)])
    other.close()
    assert (await log.read(EVENTS, 0, 0, wait_s=WAIT_S)).values == [b"text", b"42"]


async def test_many_appends_share_a_transaction(log: SqliteLog, path: Path) -> None:
    """Group commit: 2,000 appends from one loop are few commits, as another connection counts them."""
    watcher = sqlite3.connect(path)
    try:
        appends = [asyncio.ensure_future(log.append(EVENTS, [Record("1", b"x" * 200)])) for _ in range(2000)]
        versions = set()
        while not all(append.done() for append in appends):
            versions.add(watcher.execute("PRAGMA data_version").fetchone()[0])
            await asyncio.sleep(0)
    finally:
        watcher.close()
    assert [append.result()[0].position for append in appends] == list(range(1, 2001))
    assert len(versions) < 200


async def test_the_disk_is_synced_before_an_append_returns(log: SqliteLog) -> None:
    writing = log._writer._database
    assert isinstance(writing, adapter._Database)
    assert writing._db.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert writing._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


async def test_a_full_disk_refuses_and_recovers_by_itself(log: SqliteLog) -> None:
    """The limit on the size of files stands for the disk; both give SQLite the same kind of error."""
    await log.append(EVENTS, [Record("1", b"before")])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        refused = 0
        for _ in range(5):
            try:
                await log.append(EVENTS, [Record("1", b"x" * 100_000)])
            except LogUnavailable:
                refused += 1
        assert refused >= 3
        taken = (await log.ends(EVENTS))[0]
        assert (await log.read(EVENTS, 0, 0, limit=1)).values == [b"before"]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    appended = await log.append(EVENTS, [Record("1", b"after")])
    assert appended[0].position == taken + 1
    values = (await log.read(EVENTS, 0, 0)).values
    assert (values[0], values[-1], len(values)) == (b"before", b"after", taken + 1)


async def test_one_append_that_fails_fails_alone(log: SqliteLog) -> None:
    good = [asyncio.create_task(log.append(EVENTS, [Record("1", b"x")])) for _ in range(5)]
    with pytest.raises(UnicodeEncodeError):
        await log.append(EVENTS, [Record("\ud800", b"x")])
    assert len([await append for append in good]) == 5


async def test_a_lock_held_by_somebody_else_is_waited_for(log: SqliteLog, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    append = asyncio.create_task(log.append(EVENTS, [Record("1", b"x")]))
    assert (await log.read(EVENTS, 0, 0)).values == []
    other.execute("ROLLBACK")
    other.close()
    assert (await append)[0].position == 1


async def test_a_lock_held_for_too_long_is_unavailable(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "_BUSY_S", 0.05)
    log = await SqliteLog.open(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LogUnavailable, match="locked"):
        await log.append(EVENTS, [Record("1", b"x")])
    other.execute("ROLLBACK")
    other.close()
    assert (await log.append(EVENTS, [Record("1", b"x")]))[0].position == 1
    await log.close()


async def test_the_vault_keeps_the_newest_of_each_key(log: SqliteLog) -> None:
    await log.append(VAULT, [Record("1:kick", b"old"), Record("2:kick", b"other"), Record("1:kick", b"newer")])
    await log.append(VAULT, [Record("1:kick", b"newest")])
    batch = await log.read(VAULT, 0, 0)
    assert (batch.keys, batch.values, batch.positions) == (["2:kick", "1:kick"], [b"other", b"newest"], [1, 3])
    assert batch.next_position == 4


async def test_dead_letters_keep_to_their_limit(path: Path) -> None:
    log = await SqliteLog.open(path, dead_letter_max_bytes=1000)
    for number in range(30):
        appended = await log.append(DEAD_LETTERS, [Record(str(number), bytes([number]) * 100)])
        assert appended[0].position == number + 1
    batch = await log.read(DEAD_LETTERS, 0, 0)
    assert batch.positions == list(range(20, 30))
    info = next(info for info in await log.info() if info.topic == DEAD_LETTERS)
    assert (info.start, info.end, info.size_bytes) == (20, 30, 1000)
    await log.append(DEAD_LETTERS, [Record("big", b"x" * 5000)])
    assert (await log.read(DEAD_LETTERS, 0, 0)).positions == [30]
    await log.close()


async def test_a_queue_gives_its_room_back(log: SqliteLog, path: Path) -> None:
    await log.append(EVENTS, [Record("1", b"x" * 1000)] * 30_000)
    await log.discard(EVENTS, 0, 29_000)
    batch = await log.read(EVENTS, 0, 0, limit=10)
    assert batch.positions == list(range(29_000, 29_010))
    assert 900_000 < next(info.size_bytes or 0 for info in await log.info() if info.topic == EVENTS) < 1_500_000
    await log.discard(EVENTS, 0, 30_000)
    assert await log.ends(EVENTS) == (0,)
    assert (await log.append(EVENTS, [Record("1", b"again")]))[0].position == 1
    assert (await log.read(EVENTS, 0, 0)).values == [b"again"]
    await log.close()
    assert os.stat(path).st_size < 1_000_000


async def test_sizes_are_shares_of_the_file(log: SqliteLog) -> None:
    await log.append(EVENTS, [Record("1", b"x" * 1000)] * 900)
    await log.append(CONTROL, [Record("1", b"x" * 1000)] * 100)
    sizes = {info.topic: info.size_bytes or 0 for info in await log.info()}
    assert 900_000 < sizes[EVENTS] < 1_500_000
    assert sizes[EVENTS] == pytest.approx(9 * sizes[CONTROL], rel=0.01)


async def test_a_file_of_another_format_is_refused(log: SqliteLog, path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("UPDATE meta SET value = '99' WHERE name = 'format'")
    other.commit()
    other.close()
    with pytest.raises(LogMisconfigured, match="format 99"):
        await SqliteLog.open(path)


def test_a_file_that_is_no_database_is_not_touched(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"my notes, please keep" * 100)
    with pytest.raises(LogUnavailable, match="cannot be opened"):
        asyncio.run(SqliteLog.open(path))
    assert path.read_bytes() == b"my notes, please keep" * 100


async def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LogUnavailable, match="cannot be opened"):
        await SqliteLog.open(tmp_path / "file" / "log.sqlite")


async def test_another_process_wakes_a_reader_soon(log: SqliteLog, path: Path) -> None:
    code = (
        "import asyncio, sys, time\n"
        "from pathlib import Path\n"
        "from streamkit.log.protocol import EVENTS, Record\n"
        "from streamkit.log.sqlite import SqliteLog\n"
        "async def main():\n"
        "    log = await SqliteLog.open(Path(sys.argv[1]))\n"
        "    for _ in sys.stdin:\n"
        "        await log.append(EVENTS, [Record('1', str(time.monotonic()).encode())])\n"
        "    await log.close()\n"
        "asyncio.run(main())\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, text=True)  # noqa: ASYNC220
    assert child.stdin is not None
    delays = []
    for position in range(20):
        waiting = asyncio.create_task(log.read(EVENTS, 0, position, wait_s=WAIT_S))
        await asyncio.sleep(0)
        child.stdin.write("go\n")
        child.stdin.flush()
        delays.append(time.monotonic() - float((await waiting).values[0]))
    await asyncio.to_thread(child.communicate)
    assert sorted(delays)[10] < 0.2  # 20 ms on a machine that has nothing else to do


async def test_nobody_polls_while_nobody_waits(log: SqliteLog) -> None:
    calls = 0
    database = log._reader._database
    version = database.version

    def counted() -> int:
        nonlocal calls
        calls += 1
        return version()

    database.version = counted  # type: ignore[method-assign]
    await log.read(EVENTS, 0, 0)
    await log.append(EVENTS, [Record("1", b"x")])
    await asyncio.sleep(0.1)
    assert calls == 0
    await log.read(EVENTS, 0, 1, wait_s=0.1)
    assert 1 <= calls <= 8


async def test_a_batch_stops_at_its_bytes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "_MAX_BATCH_BYTES", 10_000)
    monkeypatch.setattr(adapter, "_ROWS_PER_FETCH", 10)
    log = await SqliteLog.open(path)
    await log.append(EVENTS, [Record("1", b"x" * 1000)] * 45)
    sizes, position = [], 0
    while (batch := await log.read(EVENTS, 0, position)).values:
        sizes.append(len(batch.values))
        position = batch.next_position
    assert sizes == [10, 10, 10, 10, 5]
    await log.close()
