"""The directory over a log: it follows, refreshes on a miss, and survives a log that is away."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from schemas.errors import LogUnavailable
from streamkit import directory as directory_module
from streamkit.directory import Directory
from streamkit.log import open_log
from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import EventLog
from tests.streamkit.control_records import append, client, connected, registered, token


@asynccontextmanager
async def following(log: EventLog) -> AsyncIterator[Directory]:
    directory = Directory()
    task = asyncio.create_task(directory.follow(log))
    try:
        async with asyncio.timeout(5):
            await directory.ready()
        yield directory
    finally:
        task.cancel()
        await asyncio.wait({task})


async def until_version(directory: Directory, version: int) -> None:
    changed = asyncio.Event()
    directory.on_change(changed.set)
    async with asyncio.timeout(5):
        while directory.version < version:
            changed.clear()
            await changed.wait()


class Wrapped(MemoryLog):
    """A memory log that counts, fails or holds its `ends`."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.failures = 0
        self.gate: asyncio.Event | None = None
        self.held = asyncio.Event()

    async def ends(self, topic: str) -> tuple[int, ...]:
        self.asked += 1
        found = await super().ends(topic)
        if self.failures:
            self.failures -= 1
            raise LogUnavailable("away")
        if self.gate is not None:
            self.held.set()
            await self.gate.wait()
        return found


async def test_ready_when_what_was_there_has_been_applied() -> None:
    log = MemoryLog()
    await append(log, *(registered(user_id) for user_id in range(1, 2501)))
    async with following(log) as directory:
        assert directory.highest_user_id == 2500
        assert directory.position == 2500
    await log.close()


async def test_follow_tells_of_changes() -> None:
    log = MemoryLog()
    async with following(log) as directory:
        await append(log, registered(1), connected(1, "kick", "7"))
        await until_version(directory, 2)
        assert directory.broadcaster_of("kick", "7") == 1
    await log.close()


async def test_a_log_that_is_away_leaves_the_directory_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_module, "_RETRY_FIRST_S", 0.001)
    log = Wrapped()
    log.failures = 3
    await append(log, registered(1))
    async with following(log) as directory:
        assert directory.broadcaster(1) is not None
        assert log.asked == 4
        log.failures = 1
        await append(log, registered(2))
        assert not await directory.refresh()
        await until_version(directory, 2)
    await log.close()


async def test_a_follow_that_waits_ends_at_once() -> None:
    log = MemoryLog()
    started = time.monotonic()
    async with following(log):
        pass
    assert time.monotonic() - started < 1
    await log.close()


# Refreshing


async def test_refresh_knows_what_was_appended_before_it() -> None:
    log = MemoryLog()
    async with following(log) as directory:
        for user_id in range(1, 6):
            await append(log, registered(user_id))
            assert await directory.refresh()
            assert directory.broadcaster(user_id) is not None
    await log.close()


async def test_many_callers_share_one_reading() -> None:
    log = Wrapped()
    async with following(log) as directory:
        asked = log.asked
        assert all(await asyncio.gather(*(directory.refresh() for _ in range(200))))
        assert log.asked == asked + 1
    await log.close()


async def test_a_caller_who_comes_while_one_runs_shares_the_next() -> None:
    log = Wrapped()
    async with following(log) as directory:
        log.gate = asyncio.Event()
        asked = log.asked
        first = asyncio.create_task(directory.refresh())
        async with asyncio.timeout(5):
            await log.held.wait()
        await append(log, registered(1))
        later = [asyncio.create_task(directory.refresh()) for _ in range(50)]
        log.gate.set()
        assert await first
        assert all(await asyncio.gather(*later))
        assert directory.broadcaster(1) is not None
        assert log.asked == asked + 2
    await log.close()


async def test_no_more_than_twenty_a_second() -> None:
    log = Wrapped()
    async with following(log) as directory:
        asked, started = log.asked, time.monotonic()
        for _ in range(6):
            await directory.refresh()
        assert log.asked == asked + 6
        assert time.monotonic() - started >= 5 / 20
    await log.close()


async def test_a_refresh_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_module, "REFRESH_WAIT_S", 0.1)
    log = Wrapped()
    async with following(log) as directory:
        log.gate = asyncio.Event()
        assert not await directory.refresh()
        log.gate = None
        assert await directory.refresh()
    await log.close()


async def test_without_a_log_there_is_nothing_to_ask() -> None:
    assert await Directory().refresh()


# Over the real logs, from another process


async def test_a_revocation_by_another_process_is_in_force_within_a_second(tmp_path: Path, log_url: str) -> None:
    log = await open_log(log_url, data_dir=tmp_path)
    await append(log, registered(1), client("c", 1), token("t", "c", 1))
    async with following(log) as directory:
        assert directory.token("t") is not None
        version = directory.version
        command = "from streamkit.cli.tokens import tokens; tokens(['revoke', '--jti', 't'])"
        await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", command],
            env={"STREAMKIT_DATA_DIR": str(tmp_path), "STREAMKIT_LOG_URL": log_url},
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )
        done = time.monotonic()
        await until_version(directory, version + 1)
        assert time.monotonic() - done < 1
        found = directory.token("t")
        assert found is not None
        assert found.revoked
    await log.close()


async def test_what_another_process_added_a_moment_ago_is_known(tmp_path: Path, log_url: str) -> None:
    """Asked for at once, by a refresh, whatever the following reader has seen by then."""
    log, other = [await open_log(log_url, data_dir=tmp_path) for _ in range(2)]
    async with following(log) as directory:
        for user_id in range(1, 11):
            await append(other, registered(user_id))
            assert await directory.refresh()
            assert directory.broadcaster(user_id) is not None
    await other.close()
    await log.close()
