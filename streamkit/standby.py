"""What a process that takes deliveries keeps in its data folder, to go on without a log that is elsewhere.

`spool/<log id>-<n>.sqlite`, the SQLite log once more: its events topic is the spool, its control topic a copy of the
log's (keys say where each record lies there), its vault the log's address and partitions. No secret is in it: the
control topic has hashes only. Each file belongs to one process at a time, by a lock beside it; a log's id in the name
keeps what belongs to another log apart. What may not live here: what goes into the spool and comes out of it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from schemas.errors import UNREADABLE, LogClosed, LogUnavailable
from schemas.event import utc_now
from streamkit import telemetry
from streamkit.directory import Directory
from streamkit.lifecycle import Watch
from streamkit.log import open_log
from streamkit.log.late import LateLog
from streamkit.log.protocol import CONTROL, EVENTS, VAULT, Batch, EventLog, Record
from streamkit.log.sqlite import SqliteLog, is_damaged
from streamkit.settings import Settings

FOLDER = "spool"
START_WAIT_S = 5.0
"""So long a start waits for a log that it could do without."""

_FOLLOW_WAIT_S = 5.0
_RETRY_S = 1.0
_NAME = re.compile(r"([0-9a-f]+)-\d+\.sqlite")


class OfLog(Struct, frozen=True):
    """The log that a file belongs to."""

    log_id: str
    partitions: int
    log_url: str


class StandbyFile:
    """One file, this process's alone until `close`. `name` is told to operators."""

    def __init__(self, path: Path, log: SqliteLog, lock: int) -> None:
        """`lock` is the descriptor of the lock held; use `take_file` and `left_behind`."""
        self.path = path
        self.log = log
        self._lock = lock

    async def left_behind(self) -> StandbyFile | None:
        """Another file of the same log, whose process is gone; held now, to be closed. None: there is none."""
        pattern = f"{self.path.name.rpartition('-')[0]}-*.sqlite"
        for path in sorted(self.path.parent.glob(pattern)):
            if path == self.path:
                continue
            try:
                file = await _taken(path, mend=True)
            except (LogUnavailable, OSError) as error:
                telemetry.warn("spool.unreadable", file=str(path), reason=str(error))
                continue
            if file is not None:
                return file
        return None

    async def close(self, *, delete: bool = False) -> None:
        """Give the file to whoever wants it next, or delete it; idempotent."""
        await self.log.close()
        if self._lock < 0:
            return
        if delete:
            for suffix in ("", "-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        os.close(self._lock)
        self._lock = -1


class Standing(Struct, frozen=True):
    """The log a process stands on, and the file that it goes on with when that is away (None: the log is such a file
    itself). The directory is that of the copy when the log was away (`late`), else empty still."""

    log: EventLog
    file: StandbyFile | None
    directory: Directory
    late: bool


async def open_standing(stack: AsyncExitStack, settings: Settings, watch: Watch) -> Standing:
    """Open the log, or stand on a copy of its directory until it answers; closed with `stack`.

    Raises LogUnavailable when the log is away and there is no copy (a first start), or the copy's folder cannot be
    written; LogMisconfigured, BadSettings.
    """
    if settings.log_url == "sqlite:":
        log, _ = await _open_log(stack, settings, None, watch)
        return Standing(log, None, Directory(), late=False)
    folder = settings.data_dir / FOLDER
    copy, directory = await newest_copy(folder, settings.log_url)
    log, late = await _open_log(stack, settings, copy, watch)
    file = await take_file(folder, OfLog(log.log_id, log.partitions(EVENTS), settings.log_url))
    stack.push_async_callback(file.close)
    await _tell_of_other_logs(folder, log.log_id)
    watch.start(stack, "copy of the directory", keep_copy(log, file.log))
    return Standing(log, file, directory if late else Directory(), late)


async def _open_log(
    stack: AsyncExitStack, settings: Settings, copy: OfLog | None, watch: Watch
) -> tuple[EventLog, bool]:
    async def opened() -> EventLog:
        return await open_log(
            settings.log_url,
            data_dir=settings.data_dir,
            partitions=settings.partitions,
            dead_letter_max_bytes=settings.dead_letter_max_bytes,
            append_timeout_s=settings.spool_after_ms / 1000,
        )

    log: EventLog
    try:
        async with asyncio.timeout(None if copy is None else START_WAIT_S):
            log = await opened()
        stack.push_async_callback(log.close)
        return log, False
    except (LogUnavailable, TimeoutError) as away:
        if copy is None:
            raise
        telemetry.warn("log.away_at_start", log_id=copy.log_id, reason=str(away) or "no answer in time")
    log = LateLog(copy.log_id, copy.partitions, opened)
    stack.push_async_callback(log.close)
    watch.start(stack, "log", log.run())
    return log, True


async def take_file(folder: Path, of: OfLog) -> StandbyFile:
    """The first of this log's files that no process holds, made when there is none. Raises LogUnavailable."""
    try:
        await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        number = 0
        while (file := await _taken(folder / f"{of.log_id}-{number}.sqlite", mend=True)) is None:
            number += 1
    except OSError as error:
        raise LogUnavailable(
            f"The spool's folder {folder} cannot be written ({error}): mend that, or set STREAMKIT_DATA_DIR to another."
        ) from error
    if await _of(file.log) != of:
        await file.log.append(VAULT, [Record("log", msgspec.json.encode(of))])
    return file


async def count_left_behind(data_dir: Path) -> int:
    """How many events lie in spools of this folder that no process holds, whatever their log. Does not raise."""
    return sum([await _events_left_in(path) for path in _files(data_dir / FOLDER)])


async def keep_copy(log: EventLog, file: SqliteLog) -> None:
    """Keep the control topic of `log` copied in `file`, until cancelled. A task of the process.

    While either takes or gives nothing it is tried again. A copy that is not the beginning of the topic (the log was
    put back from an older one) is made anew.
    """
    position: int | None = None
    while True:
        try:
            if position is None:
                position = await _position_of_copy(log, file)
            batch = await log.read(CONTROL, 0, position, wait_s=_FOLLOW_WAIT_S)
            if batch.values:
                places = zip(batch.positions, batch.values, strict=True)
                await file.append(CONTROL, [Record(str(at + 1), value) for at, value in places])
            position = batch.next_position
        except LogUnavailable:
            await asyncio.sleep(_RETRY_S)
        except LogClosed:
            return


async def copied(file: SqliteLog) -> AsyncIterator[Batch]:
    """The copy, as it would be read from the log. Raises LogUnavailable."""
    at = 0
    while (batch := await file.read(CONTROL, 0, at)).values:
        nexts = [int(key) for key in batch.keys]
        yield Batch([place - 1 for place in nexts], batch.keys, batch.values, nexts[-1])
        at = batch.next_position


async def load_copy(file: SqliteLog, directory: Directory) -> None:
    """Fold the copy into `directory`, as if it had been read from the log. Raises LogUnavailable."""
    async for batch in copied(file):
        directory.apply_batch(batch)


async def _position_of_copy(log: EventLog, file: SqliteLog) -> int:
    (end,) = await file.ends(CONTROL)
    if end == 0:
        return 0
    last = await file.read(CONTROL, 0, end - 1, limit=1)
    position = int(last.keys[0])
    (log_end,) = await log.ends(CONTROL)
    if position <= log_end and (await log.read(CONTROL, 0, position - 1, limit=1)).values == last.values:
        return position
    await file.discard(CONTROL, 0, end)
    return 0


async def newest_copy(folder: Path, log_url: str) -> tuple[OfLog | None, Directory]:
    """Of the log at this address: the one that reaches furthest. (None, an empty directory) when there is none."""
    newest: tuple[OfLog | None, Directory] = None, Directory()
    for path in _files(folder):
        try:
            file = await SqliteLog.open(path)
        except LogUnavailable as error:
            telemetry.warn("spool.unreadable", file=str(path), reason=str(error))
            continue
        try:
            of, directory = await _of(file), Directory()
            if of is not None and of.log_url == log_url:
                await load_copy(file, directory)
                if directory.position > newest[1].position:
                    newest = of, directory
        except LogUnavailable as error:
            telemetry.warn("spool.unreadable", file=str(path), reason=str(error))
        finally:
            await file.close()
    return newest


async def _of(file: SqliteLog) -> OfLog | None:
    for value in reversed((await file.read(VAULT, 0, 0)).values):
        try:
            return msgspec.json.decode(value, type=OfLog)
        except UNREADABLE:
            continue
    return None


async def _taken(path: Path, *, mend: bool = False) -> StandbyFile | None:
    """None while another process holds it. `mend`: a damaged one is set aside, and this is a new one in its place."""
    lock = os.open(path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if mend:
            await asyncio.to_thread(_set_aside_when_damaged, path)
        return StandbyFile(path, await SqliteLog.open(path), lock)
    except BlockingIOError:
        os.close(lock)
        return None
    except BaseException:
        os.close(lock)
        raise


def _set_aside_when_damaged(path: Path) -> None:
    """What it held was acknowledged: it is kept for an operator, and keeps nobody from going on."""
    if not path.exists() or not is_damaged(path):
        return
    aside = path.with_name(f"{path.name}.{utc_now():%Y%m%dT%H%M%S%f}.damaged")
    telemetry.error("spool.damaged", file=str(path), kept_as=aside.name)
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.sqlite"))


async def _events_left_in(path: Path) -> int:
    """0 when another process holds the file, or it cannot be read."""
    with suppress(LogUnavailable, OSError):
        if (file := await _taken(path)) is not None:
            try:
                extents = {extent.topic: extent for extent in await file.log.info()}
                return extents[EVENTS].end - extents[EVENTS].start
            finally:
                await file.close()
    return 0


async def _tell_of_other_logs(folder: Path, log_id: str) -> None:
    """Events of another log stay where they are: they are that log's."""
    for path in _files(folder):
        found = _NAME.fullmatch(path.name)
        if found is not None and found[1] != log_id and (events := await _events_left_in(path)):
            telemetry.warn("spool.of_another_log", file=str(path), log_id=found[1], events=events)
