"""Rebuilds over a real SQLite log, in processes of their own."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from unittest import mock

import pytest

from projector.database import file_of
from projector.rebuild import _PROGRAM, Plan, rebuild
from projector.shelf import RebuildUnderWay, Shelf
from projector.snapshots import folder_of, snapshots_of
from schemas.event import encode_event
from streamkit.generations import Generations
from streamkit.log.protocol import EVENTS, Record
from streamkit.log.sqlite import SqliteLog
from streamkit.rebuilding import RebuildFailed, Rebuilding
from tests.projector.generations import DEADLINE_S, OLDER, contents, made, running, started, tell
from tests.strategies import seeded_log

EVENTS_EACH = 400


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteLog]:
    """Two partitions with events of several broadcasters."""
    log = await SqliteLog.open(tmp_path / "log.sqlite", partitions=2)
    events = seeded_log(3, 2 * EVENTS_EACH)
    await log.append(EVENTS, [Record(key=str(one.user_id), value=encode_event(one)) for one in events])
    yield log
    await log.close()


def plan(folder: Path, *, publishes: bool = False, kept: int = 2, workers: int | None = None) -> Plan:
    return Plan(
        log_url="sqlite:",
        data_dir=folder,
        snapshot_dir=folder / "snapshots",
        publishes=publishes,
        kept=kept,
        by="ann",
        workers=workers,
    )


def nothing(_: Rebuilding) -> None:
    pass


async def known(log: SqliteLog) -> Generations:
    generations = Generations()
    await generations.catch_up(log)
    return generations


@pytest.mark.parametrize("workers", [1, 2])
async def test_what_is_rebuilt_equals_what_is_live(log: SqliteLog, tmp_path: Path, workers: int) -> None:
    told: list[Rebuilding] = []
    done = await rebuild(log, plan(tmp_path, workers=workers), promote=False, told=told.append)
    ends = await log.ends(EVENTS)
    assert (done.generation, done.events, done.folded, done.done, done.promoted) == (
        2,
        sum(ends),
        sum(ends),
        True,
        False,
    )
    assert {p: (share.position, share.end) for p, share in done.partitions.items()} == {
        str(p): (end, end) for p, end in enumerate(ends)
    }
    assert told
    assert done.events_per_s == pytest.approx(done.folded / done.took_s, rel=0.02)
    assert (await known(log)).live == 1
    for partition, end in enumerate(ends):
        assert end > 0
        live = await made(log, tmp_path, 1, partition=partition)
        assert contents(file_of(tmp_path, 2, partition), log.log_id) == contents(live, log.log_id)
    assert Shelf(tmp_path, tmp_path / "snapshots", log.log_id).building(2) is None


async def test_a_promotion_drops_what_need_not_be_kept(log: SqliteLog, tmp_path: Path) -> None:
    for number in (2, 3):
        done = await rebuild(log, plan(tmp_path, kept=2), promote=True, told=nothing)
        assert (done.generation, done.promoted) == (number, True)
    generations = await known(log)
    assert (generations.live, generations.before, generations.dropped) == (3, 2, frozenset({1}))
    async with running(log, tmp_path) as (projector, _):
        assert {file.path for file in projector.served().values()} == {file_of(tmp_path, 3, p) for p in (0, 1)}
    assert not file_of(tmp_path, 1, 0).exists()


async def killed_at(log: SqliteLog, folder: Path, number: int) -> None:
    """A rebuild of which a worker is killed when it has told something; the sentence says that it can be gone on with."""
    workers: list[int] = []
    real = asyncio.create_subprocess_exec

    async def start(*arguments: str, **options: int) -> asyncio.subprocess.Process:
        worker = await real(*arguments, **options)  # type: ignore[arg-type]
        workers.append(worker.pid)
        return worker

    def kill(_: Rebuilding) -> None:
        os.kill(workers.pop(), number)

    with (
        mock.patch("asyncio.create_subprocess_exec", start),
        pytest.raises(RebuildFailed, match="the same command goes on"),
    ):
        await rebuild(log, plan(folder, workers=1), promote=True, told=kill)


async def test_a_worker_that_is_killed_fails_the_rebuild_and_the_next_goes_on(log: SqliteLog, tmp_path: Path) -> None:
    await killed_at(log, tmp_path, signal.SIGKILL)
    shelf = Shelf(tmp_path, tmp_path / "snapshots", log.log_id)
    assert shelf.building(2) is not None
    assert not shelf.is_held(2)
    done = await rebuild(log, plan(tmp_path), promote=True, told=nothing)
    assert (done.generation, done.events) == (2, sum(await log.ends(EVENTS)))
    assert (await known(log)).live == 2


async def test_a_full_disk_is_said_in_a_sentence(log: SqliteLog, tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    with (
        mock.patch("projector.shelf.os.pwrite", side_effect=full),
        pytest.raises(RebuildFailed, match="room on the disk"),
    ):
        await rebuild(log, plan(tmp_path), promote=False, told=nothing)
    assert (await rebuild(log, plan(tmp_path), promote=False, told=nothing)).done


def test_duckdb_draws_no_progress_bars_in_workers() -> None:
    asked = "SELECT current_setting('enable_progress_bar')"
    program = _PROGRAM.replace("main()", f'import duckdb; print(duckdb.execute("{asked}").fetchone())')
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout == "(False,)\n"


async def test_a_terminals_ctrl_c_reaches_no_worker(log: SqliteLog, tmp_path: Path) -> None:
    groups: list[int] = []
    execute = asyncio.create_subprocess_exec

    async def start(*arguments: str, **options: int) -> asyncio.subprocess.Process:
        worker = await execute(*arguments, **options)  # type: ignore[arg-type]
        groups.append(os.getpgid(worker.pid))
        return worker

    with mock.patch("asyncio.create_subprocess_exec", start):
        await rebuild(log, plan(tmp_path), promote=False, told=nothing)
    assert len(set(groups) - {os.getpgrp()}) == len(await log.ends(EVENTS))


async def test_a_rebuild_that_is_cancelled_is_gone_on_with(log: SqliteLog, tmp_path: Path) -> None:
    begun = asyncio.Event()
    work = asyncio.create_task(rebuild(log, plan(tmp_path), promote=True, told=lambda _: begun.set()))
    async with asyncio.timeout(DEADLINE_S):
        await begun.wait()
    with pytest.raises(RebuildUnderWay):
        await rebuild(log, plan(tmp_path), promote=False, told=nothing)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert (await known(log)).live == 1
    assert (await rebuild(log, plan(tmp_path), promote=False, told=nothing)).generation == 2


async def test_what_another_build_began_is_not_gone_on_with(log: SqliteLog, tmp_path: Path) -> None:
    await tell(log, started(2, OLDER))
    shelf = Shelf(tmp_path, tmp_path / "snapshots", log.log_id)
    with pytest.raises(ZeroDivisionError), shelf.built(2, {model.name: model.version for model in OLDER}):
        raise ZeroDivisionError
    assert (await rebuild(log, plan(tmp_path), promote=False, told=nothing)).generation == 3


async def test_a_partition_that_cannot_be_folded_says_so(log: SqliteLog, tmp_path: Path) -> None:
    await log.append(EVENTS, [Record(key=str(key), value=b"nope") for key in range(50)])
    with pytest.raises(RebuildFailed, match="stopped before position"):
        await rebuild(log, plan(tmp_path), promote=True, told=nothing)
    assert (await known(log)).live == 1


async def test_snapshots_are_left_for_projectors_elsewhere(log: SqliteLog, tmp_path: Path) -> None:
    await rebuild(log, plan(tmp_path, publishes=True), promote=False, told=nothing)
    folder = folder_of(tmp_path / "snapshots", log.log_id, 2)
    ends = await log.ends(EVENTS)
    assert [[one.position for one in snapshots_of(folder, partition)] for partition in (0, 1)] == [
        [end] for end in ends
    ]
