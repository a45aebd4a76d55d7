"""One partition of a log, folded in large batches: what a rebuild is made of.

The tables are those that the live fold would have made at the same position. While DuckDB folds one batch, the next is
read. What may not live here: which file is folded, and what becomes of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from functools import partial

import duckdb

from projector.fold import Folded, fold, read_position, settled_before
from projector.poison import Records, Run
from projector.session import ENVIRONMENT, Session
from projector.staging import BadRecord
from schemas.read_models import READ_MODELS, SETTLED_EVERY, ReadModel
from streamkit.log.protocol import EVENTS, EventLog

BATCH = 8 * SETTLED_EVERY
"""Records folded in one transaction, when they are short enough."""

BATCH_BYTES = 128 << 20


async def fold_until(
    log: EventLog,
    session: Session,
    partition: int,
    *,
    until: int,
    progress: Callable[[Folded], None],
    stop: asyncio.Event,
    models: Sequence[ReadModel] = READ_MODELS,
    passed_over: Collection[int] = (),
) -> int:
    """Fold the records before position `until` into the session's file, from the file's own position on; where it stands
    then: at `until`, or before it when `stop` was set. Those at the positions `passed_over` leave no trace.

    `progress` is called on the event loop after each commit. A record that cannot be folded is passed over: it is a dead
    letter since the live fold met it. Whatever ends this (an error, kill -9), calling it again goes on from the last commit.
    Until it returns the session is in use by another thread; cancellation waits for the batch under way.

    Raises LogUnavailable and LogClosed, PartitionStopped (ten records in a row of several broadcasters cannot be folded),
    PositionMoved, SettlingFailed, and DuckDB's errors of the environment (disk, memory); the file is then at its last commit.
    """
    failures = Run(partition)
    position = await asyncio.to_thread(read_position, session)
    reading: asyncio.Task[Records] | None = None
    try:
        while position < until and not stop.is_set():
            records = await (reading or _read(log, partition, position, until))
            reading = None
            if records.next_position == position:
                break
            records = records.without(passed_over) if passed_over else records
            if records.next_position < until:
                reading = asyncio.create_task(_read(log, partition, records.next_position, until))
            work = asyncio.create_task(asyncio.to_thread(_fold, session, position, records, models, failures))
            try:
                folded = await asyncio.shield(work)
            except asyncio.CancelledError:
                await asyncio.wait([work])
                raise
            for each in folded:
                progress(each)
                position = each.position
    finally:
        if reading is not None:
            reading.cancel()
            await asyncio.wait([reading])
    return position


async def _read(log: EventLog, partition: int, position: int, until: int) -> Records:
    """One batch, of several readings where need be; up to the end of a stretch, so that nothing is staged twice."""
    positions: list[int] = []
    keys: list[str] = []
    values: list[bytes] = []
    end = min(until, settled_before(position + BATCH))
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
    while positions and positions[-1] >= until:  # gaps in the positions
        positions.pop(), keys.pop(), values.pop()
        position = until
    return Records(positions=positions, keys=keys, values=values, next_position=position)


def _fold(session: Session, start: int, records: Records, models: Sequence[ReadModel], failures: Run) -> list[Folded]:
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
            done += _fold(session, done[-1].position if done else start, part, models, failures)
        return done
    failures.folded()
    return [folded]
