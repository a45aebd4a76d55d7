"""Whether what is served is what the log says: a copy of it, held against the log folded anew to exactly its position.

The log is folded as the served file was: by the read models that the file keeps, and without the events that it passed
over because they could not be folded when they came (dead letters `fold_failed`), though this build may fold them. What
may not live here: where the copy comes from, and what an operator is told.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from projector.bulk import fold_until
from projector.copies import ask_for_copies, copy_closed
from projector.database import FileInUse, identity_of, open_file
from projector.digest import Difference, differences
from projector.fold import Folded, fold
from projector.recipes import read_models
from projector.redrive import look_anew
from projector.session import Session
from projector.snapshots import Snapshot, delete
from projector.succeeding import shelf_of
from schemas.dead_letter import DeadLetter, LetterHead
from schemas.errors import UNREADABLE, Stop
from schemas.read_models import ReadModel
from streamkit.generations import Generations
from streamkit.log.protocol import EVENTS, EventLog
from streamkit.redrive import StillDead
from streamkit.settings import Settings
from streamkit.transfer.exporting import Progress

ROWS = 100
"""Rows told of each table that differs."""


class OtherBuild(Stop):
    """The file was folded by a build that folds in another way."""


class Failed(Struct, frozen=True):
    """An event that could not be folded when it came, and whether it was redriven since."""

    head: LetterHead
    redriven: bool


class Verdict(Struct, frozen=True):
    """About one partition, whose copy stood at `position`. `differences` have the served row as `a` and the log's as `b`.
    `passed_over`: positions of events that are not in what is served, were not redriven, and that this build can fold; no
    difference comes of them."""

    partition: int
    generation: int
    position: int
    differences: list[Difference]
    passed_over: list[int]

    @property
    def document(self) -> dict[str, Any]:
        """As the command tells it."""
        return {
            "partition": self.partition,
            "generation": self.generation,
            "position": self.position,
            "equal": not self.differences,
            "different_rows": sum({one.table: one.of for one in self.differences}.values()),
            "passed_over": self.passed_over,
            "differences": [
                {"model": one.model, "table": one.table, "key": one.key, "served": one.a, "log": one.b}
                for one in self.differences
            ],
        }


async def check(
    log: EventLog, settings: Settings, failed: Sequence[tuple[LetterHead, bool]], runs: bool, by: str, tell: Progress
) -> list[dict[str, Any]]:
    """What the command tells of every partition. `failed`: the dead letters `fold_failed`, and whether each was redriven;
    `runs`: whether a projector was seen, who is then asked for copies (else the closed files of the data folder are copied);
    `tell` is called on the event loop.

    Raises NoCopy when what is served cannot be had, and as `verify_partition`.
    """
    letters = [Failed(head, redriven) for head, redriven in failed]
    partitions = range(log.partitions(EVENTS))
    with _scratch(settings.data_dir) as scratch:
        copies: dict[int, Snapshot] | None = None
        if not runs:
            files = await _closed_files(log, settings, partitions)
            try:
                copies = await asyncio.to_thread(copy_closed, settings.data_dir, files, scratch)
            except FileInUse:  # one runs, and did not answer the command
                copies = None
        if copies is None:
            copies = await ask_for_copies(log, settings.snapshot_dir, partitions, by=by, why="verify", tell=tell)
        try:
            verdicts = [
                await verify_partition(log, copies[partition], scratch, letters, tell) for partition in partitions
            ]
            return [verdict.document for verdict in verdicts]
        finally:
            for copy in copies.values():
                await asyncio.to_thread(delete, copy)


async def _closed_files(log: EventLog, settings: Settings, partitions: Sequence[int]) -> dict[int, Path]:
    """What the next start would answer from."""
    generations, shelf = Generations(), shelf_of(settings, log.log_id)
    await generations.catch_up(log)
    return {p: shelf.path(shelf.served(p) or generations.live, p) for p in partitions}


@contextmanager
def _scratch(data_dir: Path) -> Iterator[Path]:
    """A folder for what is folded anew; that of a command that was killed goes, too."""
    folder = data_dir / "verify"
    for other in folder.glob("*"):
        if not _runs(other.name):
            shutil.rmtree(other, ignore_errors=True)
    own = folder / str(os.getpid())
    own.mkdir(parents=True, exist_ok=True)
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _runs(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return int(pid) != os.getpid()


async def verify_partition(
    log: EventLog, served: Snapshot, scratch: Path, failed: Sequence[Failed], tell: Progress
) -> Verdict:
    """Fold the partition's log into a file under `scratch`, and compare. `tell` is called on the event loop.

    Raises OtherBuild; what `fold_until` raises; duckdb.Error for a copy that cannot be read.
    """
    if await asyncio.to_thread(identity_of, log.log_id, served.partition) != served.identity:
        raise OtherBuild(
            f"The read models of partition {served.partition} were folded by a build that folds in another way; start this"
            " build's projector once, which folds them anew."
        )
    of_partition = [one for one in failed if await _is_of(log, one.head, served)]
    models, folded = await asyncio.to_thread(_look, served.path, of_partition)
    skipped = [one for one in of_partition if one.head.position not in folded]
    anew = scratch / f"partition-{served.partition}.duckdb"
    await _fold_anew(log, anew, served, models, frozenset(_position(one) for one in skipped), tell)
    found = await asyncio.to_thread(differences, served.path, anew, ROWS)
    now_foldable = [_position(one) for one in skipped if not one.redriven and await _can_fold(log, one.head, served)]
    return Verdict(served.partition, served.generation, served.position, found, sorted(now_foldable))


async def _fold_anew(
    log: EventLog,
    path: Path,
    served: Snapshot,
    models: Sequence[ReadModel],
    skipped: frozenset[int],
    tell: Progress,
) -> None:
    session = await asyncio.to_thread(
        partial(open_file, path, log_id=log.log_id, partition=served.partition, models=models)
    )

    def told(folded: Folded) -> None:
        tell(f"partition {served.partition}:", folded.position, served.position)

    tell(f"partition {served.partition}:", 0, served.position)
    try:
        position = await fold_until(
            log,
            session,
            served.partition,
            until=served.position,
            progress=told,
            stop=asyncio.Event(),
            passed_over=skipped,
        )
        if position < served.position:  # what lies between is no record
            await asyncio.to_thread(fold, session, position, (), (), served.position, models)
    finally:
        await asyncio.to_thread(session.close)


def _position(failed: Failed) -> int:
    assert failed.head.position is not None, "asked of its log before"
    return failed.head.position


async def _is_of(log: EventLog, head: LetterHead, served: Snapshot) -> bool:
    """Whether the letter is about an event that lies where it says, before the copy's position: a letter that was imported
    tells the place in the log that it came from."""
    return await _value(log, head, served) is not None


async def _value(log: EventLog, head: LetterHead, served: Snapshot) -> bytes | None:
    if head.partition != served.partition or head.position is None or head.position >= served.position:
        return None
    batch = await log.read(EVENTS, head.partition, head.position, limit=1)
    if batch.positions[:1] != [head.position]:
        return None
    unreadable = f"{head.partition}:{head.position}"
    return batch.values[0] if head.event_id in (unreadable, _event_id(batch.values[0])) else None


async def _can_fold(log: EventLog, head: LetterHead, served: Snapshot) -> bool:
    body = await _value(log, head, served) or b""
    letter = DeadLetter(**asdict(head), detail="", headers={}, body=body)
    return not isinstance(await asyncio.to_thread(look_anew, letter), StillDead)


def _event_id(value: bytes) -> str | None:
    try:
        found = msgspec.json.decode(value, type=dict[str, msgspec.Raw]).get("event_id", b"null")
        return msgspec.json.decode(found, type=str | None)
    except UNREADABLE:
        return None


def _look(path: Path, failed: Sequence[Failed]) -> tuple[Sequence[ReadModel], set[int]]:
    """The models of the served file, and the positions of those that it has folded nevertheless: a row tells of them, or
    their ids were seen (and not because they were redriven)."""
    session = Session(duckdb.connect(str(path), read_only=True))
    try:
        positions = [_position(one) for one in failed]
        tables = session.execute(
            "SELECT table_name FROM duckdb_columns() WHERE column_name = 'position' AND table_name IN"
            " (SELECT table_name FROM duckdb_tables()) AND table_name <> 'fold_position'"
        ).fetchall()
        folded: set[int] = set()
        for (table,) in tables if positions else ():
            rows = session.execute(
                f"SELECT DISTINCT position FROM {table} WHERE position IN (SELECT unnest($1::BIGINT[]))", [positions]
            ).fetchall()
            folded |= {position for (position,) in rows}
        seen = {
            key
            for (key,) in session.execute(
                "SELECT key FROM seen WHERE space = 0 AND key IN (SELECT unnest($1::VARCHAR[]))",
                [[one.head.event_id for one in failed]],
            ).fetchall()
        }
        folded |= {_position(one) for one in failed if one.head.event_id in seen and not one.redriven}
        return read_models(session), folded
    finally:
        session.close()
