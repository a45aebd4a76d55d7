"""The event log in one SQLite file: the embedded default, good for several processes of one machine.

One table a partition; threads.py has the two threads that work on it. This is the one file that imports sqlite3.

Statements matter more than rows here: every one gives Python's lock away several times and must win it back from a
busy event loop. So a group is one many-row statement, which is its own transaction, wherever that can be.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from schemas.errors import LogClosed, LogMisconfigured, LogUnavailable
from streamkit.log.protocol import (
    CONTROL,
    DEAD_LETTERS,
    EVENTS,
    TOPICS,
    VAULT,
    Appended,
    Batch,
    PartitionInfo,
    Record,
    check_records,
    partition_of,
)
from streamkit.log.threads import Append, Ask, Read, Reader, Writer

_Answer = TypeVar("_Answer")

_FORMAT = "1"
_BUSY_S = 5.0
_MAX_BATCH_BYTES = 64 << 20
_ROWS_AT_ONCE = 128
_ROWS_PER_STATEMENT = 1024
_ROWS_PER_FETCH = 1000
_UNUSED_PAGES = 4096
_TABLES = {EVENTS: "events", CONTROL: "control", VAULT: "vault", DEAD_LETTERS: "dead_letters"}

# `next` is the position right after the record, so that SQLite's own numbering (1, 2, …) gives positions from 0 on.
# The newest record of a table is never deleted: the numbering continues from it.
_CREATE_TABLE = (
    "CREATE TABLE IF NOT EXISTS {} (next INTEGER PRIMARY KEY, key TEXT NOT NULL, value BLOB NOT NULL, headers TEXT)"
)


class SqliteLog:
    """An EventLog in a SQLite file. Made by `open`; belongs to the event loop that opened it."""

    def __init__(self, path: Path, log_id: str, partitions: int, dead_letter_max_bytes: int) -> None:
        """Start the two threads on a file that exists; use `open`."""
        self._log_id = log_id
        self._partitions = partitions
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._to_read = _Database(path, partitions, dead_letter_max_bytes)
        self._reader = Reader(self._to_read, self._loop)
        to_write = _Database(path, partitions, dead_letter_max_bytes)
        self._writer = Writer(to_write, self._loop, self._reader.nudge)
        self._reader.start()
        self._writer.start()

    @classmethod
    async def open(
        cls, path: Path, *, partitions: int | None = None, dead_letter_max_bytes: int = 1 << 30
    ) -> SqliteLog:
        """Open the log at `path` (mode 0600), or create it with `partitions` (None: 1) of the events topic.

        Raises LogMisconfigured when it has another number of partitions or another format, LogUnavailable when the
        file cannot be opened or stays locked.
        """
        try:
            log_id, found = await asyncio.to_thread(_open_file, path, partitions)
            log = cls(path, log_id, found, dead_letter_max_bytes)
        except (OSError, sqlite3.Error) as error:
            raise LogUnavailable(
                f"The event log {path} cannot be opened ({error}): check that the folder exists, can be written "
                "and has room."
            ) from error
        return log

    @property
    def log_id(self) -> str:
        """The log's own random id."""
        return self._log_id

    def partitions(self, topic: str) -> int:
        """How many partitions the topic has."""
        return self._partitions if topic == EVENTS else 1

    async def append(self, topic: str, records: Sequence[Record]) -> list[Appended]:
        """Append in order, durable on return (one fsync shared by all that are under way).

        Raises RecordTooLarge, LogUnavailable (disk full, locked for 5 s), LogClosed.
        """
        self._check_open()
        check_records(records)
        return await self._writer.append(topic, records)

    async def read(self, topic: str, partition: int, position: int, *, limit: int = 1000, wait_s: float = 0.0) -> Batch:
        """Up to `limit` records (64 MiB) from `position` on; waits up to `wait_s` seconds for the first.

        A record of this process ends the wait at once, one of another process within 20 ms or so.
        """
        self._check_open()
        if not 0 <= partition < self.partitions(topic):
            raise ValueError(f"{topic} has no partition {partition}")
        future: asyncio.Future[Batch] = self._loop.create_future()
        deadline = time.monotonic() + wait_s
        self._reader.queue.put(Read(topic, partition, position, limit, deadline, future))
        return await future

    async def ends(self, topic: str) -> tuple[int, ...]:
        """The end position of every partition."""
        return await self._ask(lambda: self._to_read.ends(topic))

    async def info(self) -> list[PartitionInfo]:
        """Extent of every partition. Sizes: exact for dead letters, else shares of the file by number of records."""
        return await self._ask(self._to_read.info)

    async def discard(self, topic: str, partition: int, before: int) -> None:
        """Delete the records of one partition whose position is less than `before`; durable on return.

        When none is left, positions begin at 0 again and the file gives its room back: for a file that is a queue and
        no log. Raises LogUnavailable, LogClosed.
        """
        await self._ask(lambda: self._to_read.discard(topic, partition, before))

    async def close(self) -> None:
        """Finish the appends under way, end both threads, close the file; idempotent. Waiting readers get LogClosed."""
        if self._closed:
            return
        self._closed = True
        self._writer.end()
        await asyncio.to_thread(self._writer.join)
        self._reader.queue.put(None)
        await asyncio.to_thread(self._reader.join)

    async def _ask(self, question: Callable[[], _Answer]) -> _Answer:
        self._check_open()
        future: asyncio.Future[_Answer] = self._loop.create_future()
        self._reader.queue.put(Ask(question, future))
        return await future

    def _check_open(self) -> None:
        if self._closed:
            raise LogClosed("The event log is closed; open it again to go on.")


class _Database:
    """One connection (threads.Database); what SQLite raises becomes LogUnavailable."""

    def __init__(self, path: Path, partitions: int, dead_letter_max_bytes: int) -> None:
        self._db = _connect(path)
        self._tables = {topic: _tables(topic, partitions) for topic in TOPICS}
        self._dead_letter_max_bytes = dead_letter_max_bytes

    def commit(self, group: Sequence[Append]) -> list[list[Appended]]:
        """One transaction, one fsync."""
        rows: dict[str, list[Any]] = {}
        places: list[list[tuple[int, str, int]]] = []
        for topic, records, _ in group:
            tables = self._tables[topic]
            place = []
            for record in records:
                partition = partition_of(record.key, len(tables))
                table = tables[partition]
                values = rows.setdefault(table, [])
                values += (record.key, record.value, _headers(record))
                place.append((partition, table, len(values) // 3))
            places.append(place)
        with _told():
            starts = self._insert(rows)
        return [[Appended(partition, starts[table] + nth) for partition, table, nth in place] for place in places]

    def _insert(self, rows: dict[str, list[Any]]) -> dict[str, int]:
        """Insert by table, durably, rows given flat; the position of each table's first."""
        if len(rows) == 1 and not rows.keys() & {"vault_0", "dead_letters_0"}:
            ((table, values),) = rows.items()
            if len(values) // 3 <= _ROWS_AT_ONCE:  # one statement outside of a transaction is one
                return {table: _insert(self._db, table, values)}
        with self._transaction() as db:
            starts = {table: _insert(db, table, values) for table, values in rows.items()}
            if "vault_0" in rows:
                _compact(db, set(rows["vault_0"][::3]))
            if "dead_letters_0" in rows:
                _trim(db, sum(map(len, rows["dead_letters_0"][1::3])), self._dead_letter_max_bytes)
        return starts

    def read(self, read: Read) -> Batch:
        """Up to `limit` records or 64 MiB."""
        table = self._tables[read.topic][read.partition]
        positions: list[int] = []
        keys: list[str] = []
        values: list[bytes] = []
        size = 0
        with _told():
            cursor = self._db.execute(
                f"SELECT next - 1, key, CAST(value AS BLOB) FROM {table} WHERE next > ? ORDER BY next LIMIT ?",  # noqa: S608
                (read.position, read.limit),
            )
            while size < _MAX_BATCH_BYTES and (rows := cursor.fetchmany(_ROWS_PER_FETCH)):
                more = list(zip(*rows, strict=True))
                positions += more[0]
                keys += more[1]
                values += more[2]
                size += sum(map(len, more[2]))
            cursor.close()
        return Batch(positions, keys, values, positions[-1] + 1 if positions else read.position)

    def ends(self, topic: str) -> tuple[int, ...]:
        """The end of each partition."""
        with _told():
            parts = ", ".join(_end_of(table) for table in self._tables[topic])
            return tuple(self._db.execute(f"SELECT {parts}").fetchone())

    def info(self) -> list[PartitionInfo]:
        """See SqliteLog.info."""
        places = [(topic, p, table) for topic, tables in self._tables.items() for p, table in enumerate(tables)]
        parts = [f"(SELECT coalesce(min(next) - 1, 0) FROM {table}), {_end_of(table)}" for _, _, table in places]  # noqa: S608
        parked = "(SELECT cast(value AS INTEGER) FROM meta WHERE name = 'dead_letter_bytes')"
        used = "((SELECT page_count FROM pragma_page_count()) - (SELECT freelist_count FROM pragma_freelist_count()))"
        whole = f"{used} * (SELECT page_size FROM pragma_page_size())"  # noqa: S608
        with _told():
            file_bytes, parked_bytes, *row = self._db.execute(f"SELECT {', '.join([whole, parked, *parts])}").fetchone()
        extents = [(*place, start, end) for place, start, end in zip(places, row[::2], row[1::2], strict=True)]
        records = sum(end - start for topic, _, _, start, end in extents if topic != DEAD_LETTERS)
        record_bytes = max(0, file_bytes - parked_bytes) / max(1, records)
        return [
            PartitionInfo(
                topic, p, start, end, parked_bytes if topic == DEAD_LETTERS else int(record_bytes * (end - start))
            )
            for topic, p, _, start, end in extents
        ]

    def discard(self, topic: str, partition: int, before: int) -> None:
        """See SqliteLog.discard."""
        table = self._tables[topic][partition]
        with _told():
            self._db.execute(f"DELETE FROM {table} WHERE next <= ?", (before,))  # noqa: S608
            (unused,) = self._db.execute("PRAGMA freelist_count").fetchone()
            if unused > _UNUSED_PAGES and not self._db.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone():  # noqa: S608
                with suppress(sqlite3.Error):  # the room matters less than the queue
                    self._db.execute("VACUUM")

    def version(self) -> int:
        """SQLite's own count of other connections' commits."""
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                with suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
            raise


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise LogUnavailable(f"The event log's file does not take or give records at the moment: {error}.") from error


def is_damaged(path: Path) -> bool:
    """Whether SQLite finds the file damaged, of which it reads all for that. No process may have it open. Blocks."""
    db = sqlite3.connect(path)
    try:
        return bool(db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",))
    except sqlite3.Error as error:  # sqlite_errorcode may be an extended one
        return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    finally:
        db.close()


def _open_file(path: Path, partitions: int | None) -> tuple[str, int]:
    """Create what is missing; the log's id and its number of events partitions."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(
        FileExistsError
    ):  # never open one that is there: closing it would drop this process's other locks on it
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    db = _connect(path)
    try:
        db.execute("BEGIN IMMEDIATE")
        db.execute("CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
        first = {
            "format": _FORMAT,
            "log_id": secrets.token_hex(16),
            "partitions": str(partitions or 1),
            "dead_letter_bytes": "0",
        }
        db.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", first.items())
        meta = dict(db.execute("SELECT name, value FROM meta").fetchall())
        found = int(meta["partitions"])
        if meta["format"] != _FORMAT:
            raise LogMisconfigured(
                f"The event log {path} has format {meta['format']} and this build knows {_FORMAT}: "
                "use the build that wrote it."
            )
        if partitions is not None and partitions != found:
            raise LogMisconfigured(
                f"The event log {path} has {found} partition(s) of its events and STREAMKIT_PARTITIONS asks for "
                f"{partitions}: a log keeps the number it was made with, so set it to {found} or leave it out."
            )
        for topic in TOPICS:
            for table in _tables(topic, found):
                db.execute(_CREATE_TABLE.format(table))
        db.execute("COMMIT")
    finally:
        db.close()
    return meta["log_id"], found


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, cached_statements=512, check_same_thread=False)
    deadline = time.monotonic() + _BUSY_S
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError:  # the busy timeout does not cover the change to WAL by two processes at once
            if time.monotonic() > deadline:
                db.close()
                raise
            time.sleep(0.01)
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA wal_autocheckpoint = 4000")
    db.execute(f"PRAGMA journal_size_limit = {64 << 20}")
    return db


def _tables(topic: str, partitions: int) -> list[str]:
    return [f"{_TABLES[topic]}_{p}" for p in range(partitions if topic == EVENTS else 1)]


def _end_of(table: str) -> str:
    return f"(SELECT coalesce(max(next), 0) FROM {table})"  # noqa: S608


def _headers(record: Record) -> str | None:
    return msgspec.json.encode(record.headers).decode() if record.headers else None


def _insert(db: sqlite3.Connection, table: str, values: list[Any]) -> int:
    """Insert rows of (key, value, headers) given flat; the position of the first.

    At most 128 rows are one statement; more are statements of 1,024, 512, … rows. So there are few texts and each is
    prepared once. Within the transaction their numbers are consecutive.
    """
    done, rows, last = 0, len(values) // 3, 0
    while done < rows:
        left = rows - done
        size = left if left <= _ROWS_AT_ONCE else min(_ROWS_PER_STATEMENT, 1 << (left.bit_length() - 1))
        sql = f"INSERT INTO {table} (key, value, headers) VALUES {','.join(('(?,?,?)',) * size)}"  # noqa: S608
        last = db.execute(sql, values[3 * done : 3 * (done + size)]).lastrowid or 0
        done += size
    return last - rows


def _compact(db: sqlite3.Connection, keys: set[str]) -> None:
    """Of each key only the newest record of the vault stays."""
    newest = "(SELECT max(next) FROM vault_0 WHERE key = ?1)"
    db.executemany(f"DELETE FROM vault_0 WHERE key = ?1 AND next < {newest}", [(key,) for key in keys])  # noqa: S608


def _trim(db: sqlite3.Connection, added_bytes: int, max_bytes: int) -> None:
    """Keep the dead letters within their limit: the oldest go, the newest always stays."""
    total = added_bytes + int(db.execute("SELECT value FROM meta WHERE name = 'dead_letter_bytes'").fetchone()[0])
    if total > max_bytes:
        newest = db.execute("SELECT max(next) FROM dead_letters_0").fetchone()[0]
        last = 0
        oldest = db.execute("SELECT next, length(value) FROM dead_letters_0 ORDER BY next")
        for number, size in oldest:
            if total <= max_bytes or number == newest:
                break
            last, total = number, total - size
        oldest.close()
        db.execute("DELETE FROM dead_letters_0 WHERE next <= ?", (last,))
    db.execute("UPDATE meta SET value = ? WHERE name = 'dead_letter_bytes'", (str(total),))
