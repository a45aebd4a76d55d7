"""One partition: its file, and the loop that reads, folds and tells until it is stopped.

The same loop runs on the file that answers and on one that is made beside it. What may not live here: SQL, and which
file answers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime

import duckdb
from msgspec import Struct

from projector.database import Database, FileInUse
from projector.fold import (
    Folded,
    PositionMoved,
    SettlingFailed,
    Staged,
    digest_of,
    fold,
    fold_staged,
    read_last,
    read_position,
)
from projector.poison import PartitionStopped, Records, Run, dead_letter
from projector.session import ENVIRONMENT, Session
from projector.staging import BadRecord
from schemas.errors import LogClosed, Retry
from schemas.event import received_at
from streamkit import telemetry
from streamkit.log.protocol import DEAD_LETTERS, EVENTS, EventLog

LIVE_LIMIT = 1_000
CATCH_UP_LIMIT = 50_000
CATCH_UP_BYTES = 32 << 20
READ_WAIT_S = 5.0
LONGEST_PAUSE_S = 0.04
PAUSE_FOR_WORK = 3.0
LONGEST_BACKOFF_S = 5.0
PATIENCE_S = 10.0
_LOOK_S = 0.1


class _Hand(Struct, frozen=True):
    """What is folded next. `staged`: parsed already; None: not yet, or some record cannot be."""

    records: Records
    staged: Staged | None = None


class PartitionFold:
    """Folds one partition into `file`, which it owns from `open` to `close`.

    `moved` is called on the event loop after each commit, None: nobody is told. `parks`: whether a record that cannot be
    folded becomes a dead letter; beside the file that answers it is passed over, since it is one already.
    `position` is the file's, `oldest_at` the receipt of the oldest event in hand, `stopped` why it stopped for good,
    `waits` why it cannot go on at the moment.
    """

    def __init__(
        self, log: EventLog, file: Database, *, moved: Callable[[Folded], None] | None, parks: bool = True
    ) -> None:
        self.file = file
        self.moved = moved
        self.parks = parks
        self.position = 0
        self.oldest_at: datetime | None = None
        self.stopped: str | None = None
        self.waits: str | None = None
        self._log = log
        self._failures = Run(file.partition)
        self._task: asyncio.Task[None] | None = None
        self._ready: asyncio.Task[_Hand] | None = None
        self._progress = asyncio.Event()

    @property
    def partition(self) -> int:
        """Which partition of the events topic."""
        return self.file.partition

    async def open(self) -> None:
        """Open the file, or an empty one when the log is not the one it was folded from. Raises FileInUse when it is held
        for longer than a command looks at it."""
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                await self.file.open()
                break
            except FileInUse:
                if time.monotonic() > deadline_s:
                    raise
            await asyncio.sleep(_LOOK_S)
        if not await self._is_of_this_past():
            await self.file.set_aside("the log is not the one it was folded from")
        self.position = await self.file.write(read_position)

    def start(self) -> None:
        """Begin to fold, or go on after `stop`."""
        self._task = asyncio.create_task(self.run(), name=f"fold-{self.partition}")
        self._task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Let the batch under way finish and fold no more; `position` is then the file's. Idempotent."""
        if self._task is not None:
            await self._leave()
            self.position = await self.file.write(read_position)

    async def _leave(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Nobody else watches the task: one that a library's error cancelled must not end in silence."""
        if task is self._task and task.cancelled():
            self.stopped = (
                f"Partition {self.partition} stopped: its folding was cancelled by something else; see the log."
            )
            telemetry.error("partition_stopped", partition=self.partition, reason=self.stopped)
        self._progress.set()

    async def reach(self, position: int) -> None:
        """Wait until the file is at `position` or later, folding. Raises PartitionStopped when it will not get there."""
        while self.position < position:
            if self.stopped is not None:
                raise PartitionStopped(self.stopped)
            self._progress.clear()
            await self._progress.wait()

    async def close(self) -> None:
        """Stop, let the questions under way finish, release the file; idempotent."""
        await self._leave()
        await self.file.close()

    async def _is_of_this_past(self) -> bool:
        """Whether the log still has what the file was folded from. A log that lost its tail, or was put back from an older
        copy, gives its positions to other events: a file that has passed them would never fold those."""
        position, last = await self.file.write(read_position), await self.file.write(read_last)
        try:
            if position > (await self._log.ends(EVENTS))[self.partition]:
                return False
            if last is None:
                return True
            batch = await self._log.read(EVENTS, self.partition, last.position, limit=1)
        except Retry:  # not reachable now: nothing can be folded now either
            return True
        return batch.positions[:1] == [last.position] and digest_of(batch.values[0]) == last.digest

    async def run(self) -> None:
        """Fold until cancelled or stopped for good. Cancellation lets a running batch finish in its thread."""
        limit = LIVE_LIMIT
        backoff_s = 0.1
        is_broken = False
        while True:
            try:
                if is_broken:
                    await self._reopen()
                    is_broken = False
                limit = await self._round(limit)
                backoff_s = 0.1
                self.waits = None
            except LogClosed:
                return
            except (PartitionStopped, PositionMoved, SettlingFailed) as error:
                self.stopped = str(error)
                telemetry.error("partition_stopped", partition=self.partition, reason=self.stopped)
                return
            except (Retry, *ENVIRONMENT) as error:
                telemetry.warn("fold_waits", partition=self.partition, reason=type(error).__name__)
                if isinstance(error, ENVIRONMENT):
                    self.waits = (
                        f"Partition {self.partition} cannot be folded at the moment ({type(error).__name__}): look whether "
                        "the disk of its files is full."
                    )
                # After these DuckDB's file is unusable until it is opened again.
                is_broken = is_broken or isinstance(error, duckdb.FatalException | duckdb.InternalException)
                await asyncio.sleep(backoff_s)
                backoff_s = min(backoff_s * 2, LONGEST_BACKOFF_S)
            except Exception as error:  # a fold that ends must say so: nobody else watches this task
                self.stopped = f"Partition {self.partition} stopped: unexpected {type(error).__name__}; see the log."
                telemetry.error("partition_stopped", partition=self.partition, reason=self.stopped, exc_info=True)
                return

    async def _round(self, limit: int) -> int:
        """Read and fold once; how many records to ask for next. While more lies ready, it is read and parsed meanwhile, and
        batches grow: large batches are cheaper by the event. Otherwise rests for three times as long as the fold took, so
        that what comes meanwhile is folded together and the intake of the same process has its core: most of a small
        batch's cost is the batch."""
        hand = await self._next(limit)
        values = hand.records.values
        if not values:
            return LIVE_LIMIT
        began = time.perf_counter()
        self.oldest_at = received_at(values[0])
        more = len(values) >= limit
        if more:
            bytes_each = max(1, sum(map(len, values)) // len(values))
            limit = max(LIVE_LIMIT, min(limit * 2, CATCH_UP_LIMIT, CATCH_UP_BYTES // bytes_each))
            self._ready = asyncio.create_task(self._ahead(hand.records.next_position, limit))
        try:
            await self._fold_or_park(hand.records, hand.staged)
        except BaseException:
            await self._forget_ready()
            raise
        finally:
            self.oldest_at = None
        if more:
            return limit
        await asyncio.sleep(min(PAUSE_FOR_WORK * (time.perf_counter() - began), LONGEST_PAUSE_S))
        return LIVE_LIMIT

    async def _next(self, limit: int) -> _Hand:
        """What was read ahead, or what comes; nothing when none comes for some seconds."""
        ready = self._ready
        if ready is not None:
            try:
                hand = await ready
            finally:
                await self._forget_ready()
            if hand.records.values:
                return hand
        return _Hand(await self._read(self.position, limit, wait_s=READ_WAIT_S))

    async def _ahead(self, position: int, limit: int) -> _Hand:
        records = await self._read(position, limit)
        return _Hand(records, await self.file.stage(records.positions, records.values) if records.values else None)

    async def _forget_ready(self) -> None:
        ready, self._ready = self._ready, None
        if ready is not None:
            ready.cancel()
            await asyncio.gather(ready, return_exceptions=True)

    async def _read(self, position: int, limit: int, wait_s: float = 0.0) -> Records:
        batch = await self._log.read(EVENTS, self.partition, position, limit=limit, wait_s=wait_s)
        return Records(
            positions=batch.positions, keys=batch.keys, values=batch.values, next_position=batch.next_position
        )

    async def _fold_or_park(self, records: Records, staged: Staged | None = None) -> None:
        try:
            began = time.perf_counter()
            folded = await self.file.write(self._folding(records, staged))
            telemetry.FOLD_SECONDS.labels(str(self.partition)).observe(time.perf_counter() - began)
        except ENVIRONMENT:
            raise
        except (BadRecord, duckdb.Error) as error:
            if len(records.positions) == 1:
                await self._park(records, error)
                return
            for part in records.split(error.position if isinstance(error, BadRecord) else None):
                await self._fold_or_park(part)
        else:
            self._failures.folded()
            self._tell(folded)

    def _folding(self, records: Records, staged: Staged | None) -> Callable[[Session], Folded]:
        start, next_position, models = self.position, records.next_position, self.file.models
        if staged is None:
            return lambda session: fold(session, start, records.positions, records.values, next_position, models)
        return lambda session: fold_staged(session, start, staged, next_position, models)

    async def _park(self, records: Records, error: Exception) -> None:
        """Keep the record as a dead letter, durably, then move past it."""
        position = records.positions[0]
        self._failures.failed(records.keys[0], position)
        if self.parks:
            letter = dead_letter(self.partition, position, records.values[0], error)
            await self._log.append(DEAD_LETTERS, [letter])
            telemetry.DEAD_LETTERS_PARKED.labels("fold_failed").inc()
            telemetry.FOLD_FAILED.labels(str(self.partition)).inc()
            telemetry.error("fold_failed", partition=self.partition, position=position, reason=type(error).__name__)
        nothing = Records(positions=(), keys=(), values=(), next_position=records.next_position)
        self._tell(await self.file.write(self._folding(nothing, None)))

    def _tell(self, folded: Folded) -> None:
        self.position = folded.position
        self._progress.set()
        if self.moved is not None:
            self.moved(folded)

    async def _reopen(self) -> None:
        await self.file.reopen()
        self.position = await self.file.write(read_position)
