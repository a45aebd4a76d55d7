"""One batch, one transaction: parse, drop what was seen, settle where due, move the position, commit.

The position lies in the same file as the rows and moves by compare-and-set, so the file's state is a pure function
of the log prefix that the position names. What may not live here: threads, the log, any knowledge of an event kind.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import duckdb
from msgspec import Struct

from projector import seen, staging
from projector.session import ENVIRONMENT, Session
from schemas.read_models import READ_MODELS, SETTLED_EVERY, SORTED_EVERY, Fold, ReadModel
from schemas.read_models.model import lately
from streamkit import telemetry

TABLES = """
CREATE TABLE fold_position (position BIGINT, last_position BIGINT, last_digest BIGINT);
INSERT INTO fold_position VALUES (0, NULL, NULL);
"""
"""`last_*`: where the newest folded record lay and what it was, by which a file knows the log that it was folded from."""


STAGED = "staged"
"""A database in memory beside the file, of which `Staged.table` are: a transaction writes into one of the two only."""

MOVE = """
UPDATE fold_position SET position = $1, last_position = coalesce($3, last_position), last_digest = coalesce($4, last_digest)
WHERE position = $2
"""


def create_tables(session: Session, models: Sequence[ReadModel]) -> None:
    """Make every table of an empty file, and for each one that events give rows to its view with the recent ones."""
    for tables in (TABLES, seen.TABLES, staging.TABLES, *(model.tables for model in models if model.tables)):
        session.execute_once(tables)
    for model in models:
        for fold in model.fold:
            session.execute(f"CREATE TABLE {fold.into} ({fold.columns})")
            session.execute(f"CREATE VIEW {fold.into}_now AS SELECT * FROM {fold.into} UNION ALL {lately(fold.sql)}")


class PositionMoved(Exception):
    """Someone else moved the file's position: this fold must stop, it does not own the file."""


class SettlingFailed(Exception):
    """What was folded before cannot be settled: no record's fault, an operator must act."""


class Folded(Struct, frozen=True):
    """One committed batch: where the file stands now, records in it, duplicates among them, whose rows changed."""

    position: int
    records: int
    duplicates: int
    user_ids: frozenset[int]


def read_position(session: Session) -> int:
    """The next log position to fold. Raises duckdb.DataError when the file does not say."""
    row = session.execute("SELECT position FROM fold_position").fetchone()
    if row is None:
        raise duckdb.DataError("fold_position is empty")
    return int(row[0])


class Last(Struct, frozen=True):
    """The newest folded record."""

    position: int
    digest: int


def read_last(session: Session) -> Last | None:
    """The newest record that was folded; None when there was none."""
    row = session.execute("SELECT last_position, last_digest FROM fold_position").fetchone()
    return None if row is None or row[0] is None else Last(*row)


def digest_of(value: bytes) -> int:
    """63 bits of a record's hash."""
    return int.from_bytes(hashlib.blake2b(value, digest_size=8).digest()) >> 1


@lru_cache(4096)
def _names(sql: str) -> frozenset[str]:
    return frozenset(re.findall(r"\$([a-z]\w*)", sql))


def used_in(sql: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the parameters that the statement names; DuckDB refuses any other."""
    return {name: known[name] for name in _names(sql)}


def settled_before(position: int) -> int:
    """Where the last settling of a file at `position` ended."""
    return position - position % SETTLED_EVERY


def fold(
    session: Session,
    start: int,
    positions: Sequence[int],
    values: Sequence[bytes],
    next_position: int,
    models: Sequence[ReadModel] = READ_MODELS,
) -> Folded:
    """Fold the records at `positions` into the file, which stands at `start`, and move it to `next_position`.

    Blocks. All or nothing: raises BadRecord or duckdb.Error for a record that cannot be folded, PositionMoved when
    the file does not stand at `start`, SettlingFailed; the file is then as it was.
    """
    return fold_staged(session, start, stage(session, f"{STAGED}.alone", positions, values), next_position, models)


class Staged(Struct, frozen=True):
    """Records that lie parsed in `table`; `last` is the newest, None when there is none."""

    table: str
    positions: Sequence[int]
    heads: Sequence[staging.Head]
    last: Last | None


def stage(session: Session, table: str, positions: Sequence[int], values: Sequence[bytes]) -> Staged:
    """Parse the records into `table`, which is made anew. Blocks. Raises BadRecord or duckdb.Error for a record that
    cannot be folded."""
    heads = staging.read_heads(positions, values)
    staging.stage(session, table, positions, heads.texts)
    return Staged(table, positions, heads.heads, _last_of(positions, values))


def fold_staged(
    session: Session, start: int, staged: Staged, next_position: int, models: Sequence[ReadModel] = READ_MODELS
) -> Folded:
    """As `fold`. What has been seen before is deleted where it lies, so that this is done once."""
    fallen: list[int] = []
    if staged.heads:
        fallen = seen.fallen_of(session, staged.table, start, staged.positions, staged.heads)
        seen.drop(session, staged.table, fallen)
    settled, settles_to = settled_before(start), settled_before(next_position)
    with _moving(session, start, next_position, staged.last):
        if staged.heads:
            seen.keep(session, staged.table)
        if settles_to > settled:
            _settle(session, models, staged.table, settled, settles_to)
        elif staged.heads:
            session.execute(f"INSERT INTO recent SELECT * FROM {staged.table}")
    seen.remember(session, start, staged.positions, staged.heads, fallen, next_position)
    user_ids = frozenset({head.user_id for head in staged.heads})
    return Folded(position=next_position, records=len(staged.heads), duplicates=len(fallen), user_ids=user_ids)


def _last_of(positions: Sequence[int], values: Sequence[bytes]) -> Last | None:
    return Last(positions[-1], digest_of(values[-1])) if values else None


@contextlib.contextmanager
def _moving(session: Session, start: int, next_position: int, last: Last | None) -> Iterator[None]:
    """What is done inside is one transaction, which moves the position."""
    session.execute("BEGIN")
    try:
        yield
        told = (None, None) if last is None else (last.position, last.digest)
        moved = session.execute(MOVE, [next_position, start, *told]).fetchone()
        if moved is None or moved[0] != 1:
            raise PositionMoved(f"the file no longer stands at {start}")
        session.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(duckdb.Error):  # the error may have ended the transaction already
            session.execute("ROLLBACK")
        raise


def _settle(session: Session, models: Sequence[ReadModel], arrivals: str, begin: int, end: int) -> None:
    """Take what lies at positions from `begin` up to before `end`, in `recent` and `arrivals`, into the read models'
    own tables; `recent` keeps the rest. Raises SettlingFailed."""
    try:
        session.execute_once(
            "CREATE OR REPLACE TEMP VIEW batch AS"
            f" SELECT * FROM recent UNION ALL SELECT * FROM {arrivals} WHERE position < {end}"
        )
        known = {"from": begin, "to": end, "every": SETTLED_EVERY}
        for model in models:
            began_s = time.perf_counter()
            for fold in model.fold:
                rows = _together(fold, fold.sql, SETTLED_EVERY)
                session.execute(f"INSERT INTO {fold.into} SELECT * FROM ({rows}) ORDER BY user_id, position")
            for sql in model.settle:
                session.execute(sql, used_in(sql, known))
            telemetry.FOLD_MODEL_SECONDS.labels(model.name).inc(time.perf_counter() - began_s)
        sort_every = SETTLED_EVERY * SORTED_EVERY
        if end // sort_every > begin // sort_every:
            for fold in (fold for model in models for fold in model.fold if fold.by_user):
                _sort(session, fold, begin - begin % sort_every, end - end % sort_every)
        session.execute("DELETE FROM recent")
        session.execute(f"INSERT INTO recent SELECT * FROM {arrivals} WHERE position >= $1", [end])
    except ENVIRONMENT:
        raise
    except duckdb.Error as error:
        raise SettlingFailed(
            f"The events at positions {begin} to {end} could not be settled ({type(error).__name__})."
            " Start the version that ran before, or a repaired one; the events wait in the log."
        ) from error


def _sort(session: Session, fold: Fold, begin: int, end: int) -> None:
    """Lay the rows at positions from `begin` up to before `end` anew, each broadcaster's side by side."""
    known = [begin, end]
    within = f"{fold.into} WHERE position >= $1 AND position < $2"
    rows = _together(fold, f"SELECT * FROM {within}", SETTLED_EVERY * SORTED_EVERY)
    session.execute(f"CREATE OR REPLACE TEMP TABLE sorting AS {rows}", known)
    session.execute(f"DELETE FROM {within}", known)
    session.execute(f"INSERT INTO {fold.into} SELECT * FROM sorting ORDER BY user_id, position")
    session.execute("DROP TABLE sorting")


def _together(fold: Fold, rows: str, every: int) -> str:
    """The selection `rows`, with those of `every` positions taken together where the fold does so."""
    return f"WITH apart AS ({rows}) {fold.together.replace('$every', str(every))}" if fold.together else rows
