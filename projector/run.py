"""The projector: reads each partition of the event log, folds it, announces what changed.

A `Projector` owns the files of its partitions and answers the named queries on them. Per partition one task goes
round: read, fold, announce. What may not live here: SQL.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

import duckdb
import msgspec
from msgspec import Struct

from projector.database import Database
from projector.fold import Folded, PositionMoved, SettlingFailed, digest_of, fold, read_last, read_position
from projector.poison import PartitionStopped, Records, Run, dead_letter
from projector.reads import Reads
from projector.session import ENVIRONMENT
from projector.staging import BadRecord
from schemas.control import AwareTime
from schemas.errors import UNREADABLE, LogClosed, Retry
from schemas.event import utc_now
from streamkit import telemetry
from streamkit.log.protocol import DEAD_LETTERS, EVENTS, EventLog
from streamkit.reads import Change

LIVE_LIMIT = 1_000
CATCH_UP_LIMIT = 50_000
CATCH_UP_BYTES = 32 << 20
READ_WAIT_S = 5.0
LONGEST_PAUSE_S = 0.04
PAUSE_FOR_WORK = 3.0
LONGEST_BACKOFF_S = 5.0

_received = msgspec.json.Decoder(msgspec.defstruct("_Received", [("received_at", AwareTime)]))


class Lag(Struct, frozen=True):
    """How far behind the log the files are: per partition the position and the log's end, events behind in all, and
    the age in seconds of the oldest event that has been read and not yet folded (0.0 when there is none)."""

    positions: dict[int, int]
    ends: dict[int, int]
    lag_events: int
    lag_s: float


class Projector:
    """Folds the given partitions (None: all) into files under `data_dir` and answers from them."""

    def __init__(self, log: EventLog, data_dir: Path, *, partitions: Sequence[int] | None = None) -> None:
        self._log = log
        owned = range(log.partitions(EVENTS)) if partitions is None else partitions
        folder = data_dir / "generations" / "1"
        self._files = {p: Database(folder / f"partition-{p}.duckdb", log_id=log.log_id, partition=p) for p in owned}
        self._callbacks: list[Callable[[Change], None]] = []
        self._folds = {p: PartitionFold(log, file, self._announce) for p, file in self._files.items()}
        self._tasks: list[asyncio.Task[None]] = []
        self.reads = Reads(self._files, partitions=log.partitions(EVENTS), on_change=self.on_change)

    async def start(self) -> None:
        """Open the files and begin to fold. Raises FileInUse when another process holds one of them."""
        for partition, file in self._files.items():
            await file.open()
            if not await self._is_of_this_past(partition, file):
                await file.set_aside("the log is not the one it was folded from")
            position = await file.write(read_position)
            self._folds[partition].position = position
            self.reads.moved(Change(partition=partition, position=position, user_ids=None))
        self._tasks = [
            asyncio.create_task(one.run(), name=f"fold-{partition}") for partition, one in self._folds.items()
        ]

    async def _is_of_this_past(self, partition: int, file: Database) -> bool:
        """Whether the log still has what the file was folded from. A log that lost its tail, or was put back from an older
        copy, gives its positions to other events: a file that has passed them would never fold those."""
        position, last = await file.write(read_position), await file.write(read_last)
        try:
            if position > (await self._log.ends(EVENTS))[partition]:
                return False
            if last is None:
                return True
            batch = await self._log.read(EVENTS, partition, last.position, limit=1)
        except Retry:  # not reachable now: nothing can be folded now either
            return True
        return batch.positions[:1] == [last.position] and digest_of(batch.values[0]) == last.digest

    async def close(self) -> None:
        """Stop folding, let the batch under way finish, release the files; idempotent."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        self.reads.close()
        for file in self._files.values():
            await file.close()

    def on_change(self, callback: Callable[[Change], None]) -> None:
        """Call `callback` on the event loop after each commit; it must not block."""
        self._callbacks.append(callback)

    def positions(self) -> dict[int, int]:
        """The next position to fold, per partition."""
        return {partition: one.position for partition, one in self._folds.items()}

    @property
    def log_id(self) -> str:
        """The log's id, which the files name."""
        return self._log.log_id

    @property
    def partitions(self) -> int:
        """How many partitions the events topic has, owned here or not."""
        return self._log.partitions(EVENTS)

    @property
    def stopped(self) -> str | None:
        """Why a partition stopped for good, as a sentence for operators; None while all go on."""
        return next((one.stopped for one in self._folds.values() if one.stopped), None)

    async def lag(self) -> Lag:
        """Where the files are beside the log's ends. Raises LogUnavailable, LogClosed."""
        all_ends = await self._log.ends(EVENTS)
        positions = self.positions()
        ends = {partition: all_ends[partition] for partition in positions}
        now = utc_now()
        ages = [(now - one.oldest_at).total_seconds() for one in self._folds.values() if one.oldest_at is not None]
        behind = {p: max(0, ends[p] - position) for p, position in positions.items()}
        for partition, events in behind.items():
            telemetry.FOLD_LAG_EVENTS.labels(str(partition)).set(events)
        return Lag(
            positions=positions,
            ends=ends,
            lag_events=sum(behind.values()),
            lag_s=max([0.0, *ages]),
        )

    def _announce(self, change: Change) -> None:
        self.reads.moved(change)
        for callback in self._callbacks:
            callback(change)


class PartitionFold:
    """The loop of one partition. `position` is the file's, `oldest_at` the receipt of the oldest event in hand."""

    def __init__(self, log: EventLog, file: Database, announce: Callable[[Change], None]) -> None:
        self._log = log
        self._file = file
        self._announce = announce
        self._failures = Run(file.partition)
        self._label = str(file.partition)
        self.position = 0
        self.oldest_at: datetime | None = None
        self.stopped: str | None = None

    async def run(self) -> None:
        """Fold until cancelled or stopped. Cancellation lets a running batch finish in its thread."""
        limit = LIVE_LIMIT
        backoff_s = 0.1
        while True:
            try:
                limit = await self._round(limit)
                backoff_s = 0.1
            except LogClosed:
                return
            except (PartitionStopped, PositionMoved, SettlingFailed) as error:
                self.stopped = str(error)
                telemetry.error("partition_stopped", partition=self._file.partition, reason=self.stopped)
                return
            except (Retry, *ENVIRONMENT) as error:
                telemetry.warn("fold_waits", partition=self._file.partition, reason=type(error).__name__)
                await asyncio.sleep(backoff_s)
                backoff_s = min(backoff_s * 2, LONGEST_BACKOFF_S)
                await self._reopen(error)
            except Exception as error:  # a fold that ends must say so: nobody else watches this task
                self.stopped = (
                    f"Partition {self._file.partition} stopped: unexpected {type(error).__name__}; see the log."
                )
                telemetry.error("partition_stopped", partition=self._file.partition, reason=self.stopped, exc_info=True)
                return

    async def _round(self, limit: int) -> int:
        """Read and fold once; how many records to ask for next. While more lies ready, batches grow: large batches
        are cheaper by the event. Otherwise rests for three times as long as the fold took, so that what comes meanwhile
        is folded together and the intake of the same process has its core: most of a small batch's cost is the batch."""
        batch = await self._log.read(EVENTS, self._file.partition, self.position, limit=limit, wait_s=READ_WAIT_S)
        if not batch.values:
            return LIVE_LIMIT
        began = time.perf_counter()
        self.oldest_at = _received_at(batch.values[0])
        records = Records(
            positions=batch.positions, keys=batch.keys, values=batch.values, next_position=batch.next_position
        )
        try:
            await self._fold_or_park(records)
        finally:
            self.oldest_at = None
        if len(batch.values) >= limit:
            bytes_each = max(1, sum(map(len, batch.values)) // len(batch.values))
            return max(LIVE_LIMIT, min(limit * 2, CATCH_UP_LIMIT, CATCH_UP_BYTES // bytes_each))
        await asyncio.sleep(min(PAUSE_FOR_WORK * (time.perf_counter() - began), LONGEST_PAUSE_S))
        return LIVE_LIMIT

    async def _fold_or_park(self, records: Records) -> None:
        work = partial(
            fold,
            start=self.position,
            positions=records.positions,
            values=records.values,
            next_position=records.next_position,
        )
        try:
            began = time.perf_counter()
            folded = await self._file.write(work)
            telemetry.FOLD_SECONDS.labels(self._label).observe(time.perf_counter() - began)
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
            self._moved(folded)

    async def _park(self, records: Records, error: Exception) -> None:
        """Keep the record as a dead letter, durably, then move past it."""
        position = records.positions[0]
        self._failures.failed(records.keys[0], position)
        letter = dead_letter(self._file.partition, position, records.values[0], error)
        await self._log.append(DEAD_LETTERS, [letter])
        telemetry.DEAD_LETTERS_PARKED.labels("fold_failed").inc()
        telemetry.FOLD_FAILED.labels(self._label).inc()
        telemetry.error("fold_failed", partition=self._file.partition, position=position, reason=type(error).__name__)
        skip = partial(fold, start=self.position, positions=(), values=(), next_position=records.next_position)
        self._moved(await self._file.write(skip))

    def _moved(self, folded: Folded) -> None:
        self.position = folded.position
        telemetry.FOLDED_EVENTS.labels(self._label).inc(folded.records)
        telemetry.FOLDED_DUPLICATES.labels(self._label).inc(folded.duplicates)
        telemetry.FOLD_POSITION.labels(self._label).set(folded.position)
        self._announce(Change(partition=self._file.partition, position=folded.position, user_ids=folded.user_ids))

    async def _reopen(self, error: Exception) -> None:
        """After an error that leaves DuckDB's file unusable until it is opened again."""
        if isinstance(error, duckdb.FatalException | duckdb.InternalException):
            await self._file.reopen()
            self.position = await self._file.write(read_position)


def _received_at(value: bytes) -> datetime | None:
    try:
        received: datetime = _received.decode(value).received_at  # type: ignore[attr-defined]
    except UNREADABLE:
        return None
    return received
