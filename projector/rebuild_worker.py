"""One partition of a new generation, folded in a process of its own (rebuild.py starts it).

The order is a line on stdin, what was done a line on stdout after each batch. It gives way to everything else on the
machine, and ends when stdin does: when whoever ordered it is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from projector.bulk import fold_until
from projector.database import FileInUse, open_file
from projector.fold import Folded, SettlingFailed, read_position
from projector.poison import PartitionStopped
from projector.session import Session
from projector.snapshots import SnapshotFailed, write_snapshot
from schemas.errors import StreamkitError
from streamkit import telemetry
from streamkit.log import open_log
from streamkit.log.protocol import EVENTS, EventLog

NEAR = 2_000
"""Events. A file that is no further behind the log's end is as good as there: the live fold does the rest."""
PATIENCE_S = 30.0
"""For a file that is still held by a worker whose command was killed."""
_AGAIN_S = 0.2


class Order(Struct, frozen=True):
    """Which file is folded from which log. `snapshots`: the folder for a snapshot of it when it is whole; None: none."""

    log_url: str
    data_dir: str
    path: str
    partition: int
    snapshots: str | None = None


class Done(Struct, frozen=True):
    """So far: the file's position, the log's end when last asked, and the records folded by this process. In the last line
    `whole` is true, or there is an `error`."""

    position: int
    end: int
    folded: int = 0
    whole: bool = False
    error: str | None = None


Tell = Callable[[Done], None]


async def work(order: Order, stop: asyncio.Event, tell: Tell) -> None:
    """Fold the file until it is near the log's end, or `stop` is set. Raises what the log and the fold raise, FileInUse."""
    whole: Done | None = None
    log = await open_log(order.log_url, data_dir=Path(order.data_dir))
    try:
        session = await _open(order, log.log_id)
        try:
            done = await _fold(log, session, order.partition, stop, tell)
            if not stop.is_set():
                if order.snapshots is not None:
                    await asyncio.to_thread(_publish, session, Path(order.snapshots))
                whole = replace(done, whole=True)
        finally:
            await asyncio.to_thread(session.close)
    finally:
        await log.close()
    if whole is not None:
        tell(whole)  # now that the file is closed


async def _open(order: Order, log_id: str) -> Session:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await asyncio.to_thread(open_file, Path(order.path), log_id=log_id, partition=order.partition)
        except FileInUse:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(_AGAIN_S)


async def _fold(log: EventLog, session: Session, partition: int, stop: asyncio.Event, tell: Tell) -> Done:
    position, end = await asyncio.to_thread(read_position, session), (await log.ends(EVENTS))[partition]
    done = Done(position, end)
    tell(done)

    def told(folded: Folded) -> None:
        nonlocal done
        done = replace(done, position=folded.position, folded=done.folded + folded.records)
        tell(done)

    while not stop.is_set():
        await fold_until(log, session, partition, until=done.end, progress=told, stop=stop)
        end = (await log.ends(EVENTS))[partition]
        is_near = end - done.position <= NEAR or done.position < done.end  # or what is left is no record
        done = replace(done, end=end)
        if is_near:
            break
    return done


def _publish(session: Session, folder: Path) -> None:
    """For the projectors elsewhere. They can do without: then they fold the log themselves."""
    try:
        write_snapshot(session, folder)
    except SnapshotFailed as error:
        telemetry.warn("snapshot_failed", reason=str(error))


async def _until_stdin_ends(stdin: asyncio.StreamReader, stop: asyncio.Event) -> None:
    await stdin.read()
    stop.set()


async def run() -> None:
    """Read the order, do it, tell."""
    loop, tell = asyncio.get_running_loop(), _Told()
    stdin = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    order = msgspec.json.decode(await stdin.readline(), type=Order)
    stop = asyncio.Event()
    ending = asyncio.create_task(_until_stdin_ends(stdin, stop))
    try:
        await work(order, stop, tell)
    except (StreamkitError, PartitionStopped, SettlingFailed) as error:
        tell(Done(0, 0, error=str(error)))
    except (duckdb.Error, OSError) as error:
        telemetry.error("rebuild_failed", partition=order.partition, exc_info=True)
        tell(Done(0, 0, error=f"Partition {order.partition}: {type(error).__name__}; is there room on the disk?"))
    finally:
        ending.cancel()
        transport.close()


class _Told:
    """The lines for whoever ordered. What anything else writes on stdout goes to stderr from now on."""

    def __init__(self) -> None:
        self._out = os.dup(1)
        os.dup2(2, 1)

    def __call__(self, done: Done) -> None:
        with contextlib.suppress(BrokenPipeError):  # nobody reads any more: stdin has ended, too
            os.write(self._out, msgspec.json.encode(done) + b"\n")  # short: a pipe takes it whole


def main() -> None:
    """The program."""
    telemetry.configure_logs()
    asyncio.run(run())
