"""The event log in one SQLite file: the embedded default, good for several processes of one machine.

One table a partition. Two threads a log: the writer takes everything that is queued, writes it in one transaction and
answers all of it after one fsync (group commit); the reader answers reads and holds those that wait. The event loop
only ever queues and awaits. This is the one file that imports sqlite3.

Statements matter more than rows here: every one gives Python's lock away and must win it back from a busy event
loop, so a group is inserted by a handful of many-row statements.
"""

from __future__ import annotations

import asyncio
import copy
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

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
    check_sizes,
    partition_of,
)

_FORMAT = "1"
_BUSY_S = 5.0
_POLL_S = 0.02
_MAX_BATCH_BYTES = 64 << 20
_ROWS_PER_STATEMENT = 1024
_TABLES = {EVENTS: "events", CONTROL: "control", VAULT: "vault", DEAD_LETTERS: "dead_letters"}

# `next` is the position right after the record, so that SQLite's own numbering (1, 2, …) gives positions from 0 on.
# The newest record of a table is never deleted: the numbering continues from it.
_CREATE_TABLE = (
    "CREATE TABLE IF NOT EXISTS {} (next INTEGER PRIMARY KEY, key TEXT NOT NULL, value BLOB NOT NULL, headers TEXT)"
)


class _Append(NamedTuple):
    topic: str
    records: Sequence[Record]
    future: asyncio.Future[list[Appended]]


class _Read(NamedTuple):
    table: str
    position: int
    limit: int
    deadline: float
    future: asyncio.Future[Batch]


class _Ask(NamedTuple):
    """Any other question to the reader's connection."""

    sql: str
    future: asyncio.Future[list[Any]]


class SqliteLog:
    """An EventLog in a SQLite file. Made by `open`; belongs to the event loop that opened it."""

    def __init__(self, path: Path, log_id: str, partitions: int, dead_letter_max_bytes: int) -> None:
        """Start the two threads on an existing file; use `open`."""
        self._log_id = log_id
        self._partitions = partitions
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._reader = _Reader(path, self._loop)
        self._writer = _Writer(path, self._loop, partitions, dead_letter_max_bytes, self._reader)
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
        except (OSError, sqlite3.Error) as error:
            raise LogUnavailable(
                f"The event log {path} cannot be opened ({error}): check that the folder exists, can be written "
                "and has room."
            ) from error
        if partitions is not None and partitions != found:
            raise LogMisconfigured(
                f"The event log {path} has {found} partition(s) of its events and STREAMKIT_PARTITIONS asks for "
                f"{partitions}: a log keeps the number it was made with, so set it to {found} or leave it out."
            )
        return cls(path, log_id, found, dead_letter_max_bytes)

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
        check_sizes(records)
        future: asyncio.Future[list[Appended]] = self._loop.create_future()
        self._writer.queue.put(_Append(topic, records, future))
        return await future

    async def read(self, topic: str, partition: int, position: int, *, limit: int = 1000, wait_s: float = 0.0) -> Batch:
        """Up to `limit` records (64 MiB) from `position` on; waits up to `wait_s` seconds for the first.

        A record of this process ends the wait at once, one of another process within 20 ms or so.
        """
        self._check_open()
        if not 0 <= partition < self.partitions(topic):
            raise ValueError(f"{topic} has no partition {partition}")
        future: asyncio.Future[Batch] = self._loop.create_future()
        deadline = time.monotonic() + wait_s
        self._reader.queue.put(_Read(f"{_TABLES[topic]}_{partition}", position, limit, deadline, future))
        return await future

    async def ends(self, topic: str) -> tuple[int, ...]:
        """The end position of every partition."""
        parts = (_end_of(table) for table in _tables(topic, self._partitions))
        return tuple(await self._ask(f"SELECT {', '.join(parts)}"))

    async def info(self) -> list[PartitionInfo]:
        """Extent of every partition. Sizes: exact for dead letters, else shares of the file by number of records."""
        places = [(topic, p, table) for topic in TOPICS for p, table in enumerate(_tables(topic, self._partitions))]
        parts = [f"(SELECT coalesce(min(next) - 1, 0) FROM {table}), {_end_of(table)}" for _, _, table in places]  # noqa: S608
        parked = "(SELECT cast(value AS INTEGER) FROM meta WHERE name = 'dead_letter_bytes')"
        whole = "(SELECT page_count FROM pragma_page_count()) * (SELECT page_size FROM pragma_page_size())"
        row = await self._ask(f"SELECT {', '.join([whole, parked, *parts])}")
        file_bytes, parked_bytes, extents = row[0], row[1], list(zip(row[2::2], row[3::2], strict=True))
        counts = [
            0 if topic == DEAD_LETTERS else end - start
            for (topic, _, _), (start, end) in zip(places, extents, strict=True)
        ]
        share = max(0, file_bytes - parked_bytes) / max(1, sum(counts))
        return [
            PartitionInfo(topic, p, start, end, parked_bytes if topic == DEAD_LETTERS else int(share * count))
            for (topic, p, _), (start, end), count in zip(places, extents, counts, strict=True)
        ]

    async def close(self) -> None:
        """Finish the appends under way, end both threads, close the file; idempotent. Waiting readers get LogClosed."""
        if self._closed:
            return
        self._closed = True
        self._writer.queue.put(None)
        await asyncio.to_thread(self._writer.join)
        self._reader.queue.put(None)
        await asyncio.to_thread(self._reader.join)

    async def _ask(self, sql: str) -> list[Any]:
        self._check_open()
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        self._reader.queue.put(_Ask(sql, future))
        return await future

    def _check_open(self) -> None:
        if self._closed:
            raise LogClosed("The event log is closed; open it again to go on.")


class _Writer(threading.Thread):
    """Group commit: one transaction and one fsync for everything that is queued when the one before is done."""

    def __init__(
        self,
        path: Path,
        loop: asyncio.AbstractEventLoop,
        partitions: int,
        dead_letter_max_bytes: int,
        reader: _Reader,
    ) -> None:
        super().__init__(name="log-writer", daemon=True)
        self.queue: SimpleQueue[_Append | None] = SimpleQueue()
        self._path = path
        self._loop = loop
        self._tables = {topic: _tables(topic, partitions) for topic in TOPICS}
        self._dead_letter_max_bytes = dead_letter_max_bytes
        self._reader = reader

    def run(self) -> None:
        db = _connect(self._path)
        going_on = True
        while going_on:
            group, going_on = self._take()
            if not group:
                continue
            answer: list[list[Appended]] | Exception
            try:
                answer = self._commit(db, group)
            except Exception as error:
                answer = _unavailable(error)
                if db.in_transaction:
                    db.execute("ROLLBACK")
            else:
                self._reader.nudge()
            _post(self._loop, _settle, [append.future for append in group], answer)
        db.close()

    def _take(self) -> tuple[list[_Append], bool]:
        """Wait for the first append, take all that came meanwhile; False when it is time to end."""
        group: list[_Append] = []
        item = self.queue.get()
        while item is not None:
            group.append(item)
            try:
                item = self.queue.get_nowait()
            except Empty:
                return group, True
        return group, False

    def _commit(self, db: sqlite3.Connection, group: list[_Append]) -> list[list[Appended]]:
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
        db.execute("BEGIN IMMEDIATE")
        starts = {table: _insert(db, table, values) for table, values in rows.items()}
        if "vault_0" in rows:
            keys = set(rows["vault_0"][::3])
            db.executemany(
                "DELETE FROM vault_0 WHERE key = ?1 AND next < (SELECT max(next) FROM vault_0 WHERE key = ?1)",
                [(key,) for key in keys],
            )
        if "dead_letters_0" in rows:
            _trim(db, sum(map(len, rows["dead_letters_0"][1::3])), self._dead_letter_max_bytes)
        db.execute("COMMIT")
        return [[Appended(partition, starts[table] + nth) for partition, table, nth in place] for place in places]


class _Reader(threading.Thread):
    """Answers reads; those that found nothing wait here for a nudge of the writer or a commit of another process."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(name="log-reader", daemon=True)
        self.queue: SimpleQueue[_Read | _Ask | str | None] = SimpleQueue()
        self._path = path
        self._loop = loop
        self._waiting: list[_Read] = []

    def nudge(self) -> None:
        """Called by the writer after a commit."""
        if self._waiting:
            self.queue.put("nudge")

    def run(self) -> None:
        db = _connect(self._path)
        db.execute("PRAGMA query_only = 1")
        seen_version = 0
        while True:
            try:
                item = self.queue.get(timeout=_POLL_S if self._waiting else None)
            except Empty:
                item = "nudge"
            if item is None:
                break
            if isinstance(item, _Read):
                if not self._answer(db, item):
                    self._waiting.append(item)
            elif isinstance(item, _Ask):
                self._answer_ask(db, item)
            if self._waiting:
                version = db.execute("PRAGMA data_version").fetchone()[0]
                self._answer_waiting(db, changed=version != seen_version)
                seen_version = version
        closed = LogClosed("The event log was closed while a reader waited.")
        _post(self._loop, _settle, [read.future for read in self._waiting], closed)
        db.close()

    def _answer_waiting(self, db: sqlite3.Connection, *, changed: bool) -> None:
        now = time.monotonic()
        self._waiting = [
            read
            for read in self._waiting
            if not read.future.done() and not ((changed or read.deadline <= now) and self._answer(db, read))
        ]

    def _answer(self, db: sqlite3.Connection, read: _Read) -> bool:
        """False when there is nothing yet and the read may wait."""
        answer: list[Batch] | Exception
        try:
            batch = _read(db, read)
            if not batch.positions and time.monotonic() < read.deadline:
                return False
            answer = [batch]
        except Exception as error:
            answer = _unavailable(error)
        _post(self._loop, _settle, [read.future], answer)
        return True

    def _answer_ask(self, db: sqlite3.Connection, ask: _Ask) -> None:
        answer: list[list[Any]] | Exception
        try:
            answer = [list(db.execute(ask.sql).fetchone())]
        except Exception as error:
            answer = _unavailable(error)
        _post(self._loop, _settle, [ask.future], answer)


def _open_file(path: Path, partitions: int | None) -> tuple[str, int]:
    """Create what is missing; the log's id and its number of events partitions."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
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
        if meta["format"] != _FORMAT:
            raise LogMisconfigured(
                f"The event log {path} has format {meta['format']} and this build knows {_FORMAT}: "
                "use the build that wrote it."
            )
        for topic in TOPICS:
            for table in _tables(topic, int(meta["partitions"])):
                db.execute(_CREATE_TABLE.format(table))
        db.execute("COMMIT")
    finally:
        db.close()
    return meta["log_id"], int(meta["partitions"])


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, cached_statements=512)
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

    Statements of 1, 2, 4, … rows, so that each is prepared once; within the transaction their numbers are consecutive.
    """
    done, rows, last = 0, len(values) // 3, 0
    while done < rows:
        size = min(_ROWS_PER_STATEMENT, 1 << ((rows - done).bit_length() - 1))
        sql = f"INSERT INTO {table} (key, value, headers) VALUES {','.join(('(?,?,?)',) * size)}"  # noqa: S608
        last = db.execute(sql, values[3 * done : 3 * (done + size)]).lastrowid or 0
        done += size
    return last - rows


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


def _read(db: sqlite3.Connection, read: _Read) -> Batch:
    batch = Batch([], [], [], read.position)
    cursor = db.execute(
        f"SELECT next - 1, key, value FROM {read.table} WHERE next > ? ORDER BY next LIMIT ?",  # noqa: S608
        (read.position, read.limit),
    )
    size = 0
    while size < _MAX_BATCH_BYTES and (rows := cursor.fetchmany(1000)):
        positions, keys, values = zip(*rows, strict=True)
        batch.positions.extend(positions)
        batch.keys.extend(keys)
        batch.values.extend(values)
        size += sum(map(len, values))
    cursor.close()
    if not batch.positions:
        return batch
    return Batch(batch.positions, batch.keys, batch.values, batch.positions[-1] + 1)


def _unavailable(error: Exception) -> Exception:
    if not isinstance(error, sqlite3.Error):
        return error
    return LogUnavailable(f"The event log's file does not take or give records at the moment: {error}.")


def _post(loop: asyncio.AbstractEventLoop, call: Any, *args: Any) -> None:
    try:
        loop.call_soon_threadsafe(call, *args)
    except RuntimeError:  # the loop is closed: nobody is there to hear it
        return


def _settle(futures: list[asyncio.Future[Any]], answer: list[Any] | Exception) -> None:
    """On the event loop: give each future its result, or all of them the error."""
    for nth, future in enumerate(futures):
        if future.done():
            continue
        if isinstance(answer, Exception):
            future.set_exception(copy.copy(answer))
        else:
            future.set_result(answer[nth])
