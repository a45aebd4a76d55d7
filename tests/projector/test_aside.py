from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import duckdb
import pytest

from projector.database import Database
from projector.session import Session

FOREVER = "SELECT count(*) FROM range(10000000000) AS a, range(1000) AS b"


@pytest.fixture
async def file(tmp_path: Path) -> Database:
    file = Database(tmp_path / "a.duckdb", log_id="L", partition=0)
    await file.open()
    return file


async def test_work_beside_has_a_session_and_a_nicer_thread_of_its_own(file: Database) -> None:
    def work(session: Session) -> tuple[list[tuple[int]], int]:
        rows = session.execute("SELECT position FROM fold_position").fetchall()
        return rows, os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    rows, niceness = await file.beside(work)
    assert rows == [(0,)]
    assert niceness > os.getpriority(os.PRIO_PROCESS, 0) or not hasattr(os, "sched_setaffinity")  # Linux alone has it
    await file.close()


@pytest.mark.parametrize("how", ["close", "reopen", "set_aside"])
async def test_a_file_that_goes_cuts_it_short(file: Database, how: str) -> None:
    began = threading.Event()

    def forever(session: Session) -> None:
        began.set()
        session.execute(FOREVER)

    first, second = (asyncio.create_task(file.beside(forever)) for _ in range(2))
    await asyncio.to_thread(began.wait)
    async with asyncio.timeout(20.0):
        match how:
            case "close":
                await file.close()
            case "reopen":
                await file.reopen()
            case _:
                await file.set_aside("a test")
        for task in (first, second):
            with pytest.raises(duckdb.InterruptException):
                await task
    if how != "close":
        assert await file.beside(lambda session: session.execute("SELECT 1").fetchall()) == [(1,)]
    await file.close()
    await file.close()
