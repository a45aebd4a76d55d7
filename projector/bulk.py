"""One partition of a log, folded in large batches: what a rebuild is made of.

The tables are those that the live fold would have made at the same position. While one batch is folded, the next is read
and parsed beside it. What may not live here: which file is folded, and what becomes of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, TypeVar

import duckdb
from msgspec import Struct

from projector.fold import Folded, Staged, fold, fold_staged, read_position
from projector.poison import Records, Run
from projector.recipes import read_models
from projector.session import ENVIRONMENT, Session
from projector.stager import Stager
from projector.staging import BadRecord
from schemas.read_models import SETTLED_EVERY, ReadModel
from streamkit.log.protocol import EVENTS, EventLog

T = TypeVar("T")

BATCH = 16 * SETTLED_EVERY
"""Positions folded in one transaction, from a multiple to the next, when the records are short enough."""
FIRST_BATCH = BATCH // 8
"""The first ones are smaller: nothing is folded while the first is read."""

BATCH_BYTES = 128 << 20

_MEANWHILE = {"memory_limit": "1GB", "threads": "2"}
"""DuckDB's settings: two batches lie in its memory, one of them being folded; and while nothing is parsed beside it, at the
end and after a short batch, a fold uses that processor."""


async def fold_until(
    log: EventLog,
    session: Session,
    partition: int,
    *,
    until: int,
    progress: Callable[[Folded], None],
    stop: asyncio.Event,
    passed_over: Collection[int] = (),
) -> int:
    """Fold the records before position `until` into the session's file, from the file's own position on; where it stands
    then: at `until`, or before it when `stop` was set. Those at the positions `passed_over` leave no trace. The models are
    those that the file keeps.

    `progress` is called on the event loop after each commit. A record that cannot be folded is passed over: it is a dead
    letter since the live fold met it. Whatever ends this (an error, kill -9), calling it again goes on from the last commit.
    Until it returns the session is in use by another thread; cancellation waits for the batch under way.

    Raises LogUnavailable and LogClosed, PartitionStopped (ten records in a row of several broadcasters cannot be folded),
    PositionMoved, SettlingFailed, and DuckDB's errors of the environment (disk, memory); the file is then at its last commit.
    """
    lane = _Lane(log, session, partition, until, passed_over)
    failures = Run(partition)
    position, models = await _in_thread(read_position, session), await _in_thread(read_models, session)
    ready: asyncio.Task[_Batch] | None = None
    try:
        await _in_thread(lane.open)
        while position < until and not stop.is_set():
            batch = await (ready or lane.next(position))
            ready = None
            if batch.records.next_position == position:
                break
            if batch.records.next_position < until:
                ready = asyncio.create_task(lane.next(batch.records.next_position))
            for each in await _in_thread(_fold, session, position, batch, models, failures):
                progress(each)
                position = each.position
    finally:
        if ready is not None:
            ready.cancel()
            await asyncio.wait([ready])
        await _in_thread(lane.close)
    return position


class _Batch(Struct, frozen=True):
    """`staged` None: some record cannot be staged."""

    records: Records
    staged: Staged | None


class _Lane:
    """Reads batches and parses them into tables in memory, beside the fold of the batch before: two cores have work."""

    def __init__(
        self, log: EventLog, session: Session, partition: int, until: int, passed_over: Collection[int]
    ) -> None:
        self._log = log
        self._session = session
        self._partition = partition
        self._until = until
        self._passed_over = passed_over
        self._stager = Stager(session.cursor())
        self._size = FIRST_BATCH
        self._before: dict[str, str] = {}

    def open(self) -> None:
        """Make room. Called once, before anything else."""
        for name, value in _MEANWHILE.items():
            self._before[name] = str(self._session.execute(f"SELECT current_setting('{name}')").fetchall()[0][0])
            self._session.execute_once(f"SET {name} = '{value}'")

    async def next(self, position: int) -> _Batch:
        """The batch that begins at `position`; its table is good until the call after the next."""
        end = min(self._until, (position // self._size + 1) * self._size)
        self._size = min(2 * self._size, BATCH)
        records = await _read(self._log, self._partition, position, end)
        records = records.without(self._passed_over) if self._passed_over else records
        return _Batch(records, await _in_thread(self._stager.stage, records.positions, records.values))

    def close(self) -> None:
        """Give the room back; idempotent."""
        self._stager.close()
        for name, value in self._before.items():
            self._session.execute_once(f"SET {name} = '{value}'")


async def _in_thread(work: Callable[..., T], *args: Any) -> T:
    """Cancellation waits for it: the session is in use."""
    task = asyncio.create_task(asyncio.to_thread(work, *args))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


async def _read(log: EventLog, partition: int, position: int, end: int) -> Records:
    """The records from `position` up to before `end`, of several readings where need be, or as many as are not too long."""
    positions: list[int] = []
    keys: list[str] = []
    values: list[bytes] = []
    size = 0
    while position < end and size < BATCH_BYTES:
        batch = await log.read(EVENTS, partition, position, limit=end - position)
        if not batch.positions:
            break
        positions += batch.positions
        keys += batch.keys
        values += batch.values
        position = batch.next_position
        size += sum(map(len, batch.values))
    while positions and positions[-1] >= end:  # gaps in the positions
        positions.pop(), keys.pop(), values.pop()
        position = end
    return Records(positions=positions, keys=keys, values=values, next_position=position)


def _fold(session: Session, start: int, batch: _Batch, models: Sequence[ReadModel], failures: Run) -> list[Folded]:
    if batch.staged is not None:
        folded = fold_staged(session, start, batch.staged, batch.records.next_position, models)
        failures.folded()
        return [folded]
    return _fold_parts(session, start, batch.records, models, failures)


def _fold_parts(
    session: Session, start: int, records: Records, models: Sequence[ReadModel], failures: Run
) -> list[Folded]:
    """Fold the batch, in parts when some of its records cannot be folded."""
    work = partial(fold, session, start, models=models)
    try:
        folded = work(records.positions, records.values, records.next_position)
    except ENVIRONMENT:
        raise
    except (BadRecord, duckdb.Error) as error:
        if len(records.positions) == 1:
            failures.failed(records.keys[0], records.positions[0])
            return [work((), (), records.next_position)]
        done: list[Folded] = []
        for part in records.split(error.position if isinstance(error, BadRecord) else None):
            done += _fold_parts(session, done[-1].position if done else start, part, models, failures)
        return done
    failures.folded()
    return [folded]
