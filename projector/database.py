"""DuckDB files and their threads: one file per partition, one class that owns every thread which touches it.

A file names the log, the partition and what else its rows depend on, and keeps the read models it is folded by. Read
models are derived: a file of another log, or of another way to fold, is deleted, and the fold starts from nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import duckdb
import msgspec

from projector import fold
from projector.answers import Second
from projector.aside import Aside
from projector.fold import STAGED, Staged
from projector.recipes import read_models, versions_of, write_models
from projector.session import Session
from projector.stager import Stager
from schemas.errors import Stop
from schemas.read_models import READ_MODELS, SETTLED_EVERY, SORTED_EVERY, ReadModel
from streamkit import telemetry

T = TypeVar("T")

FOLD_VERSION = 3
"""Rises when the tables of projector/ itself change: every file is then folded anew."""

READERS = 2
"""Threads that answer from a file."""

_SETTINGS = (
    f"ATTACH ':memory:' AS {STAGED}",
    "SET TimeZone = 'UTC'",
    "SET threads = 1",
    "SET memory_limit = '384MB'",
    "SET preserve_insertion_order = true",
    "SET checkpoint_threshold = '64MB'",
    "SET late_materialization_max_rows = 0",  # a second look at a table costs more than it spares where rows are few
    "SET disabled_compression_methods = 'dict_fsst'",  # slow to write, and to read a few rows of
)


_UNREADABLE = (
    "not a valid DuckDB database",
    "orrupt",
    "replaying WAL",
    "Serialization Error",
    "newer version",
    "Could not read enough bytes",
)


class FileInUse(Stop):
    """Another process holds the file: only one projector may own a partition's file."""


def file_of(data_dir: Path, generation: int, partition: int) -> Path:
    """Where the read models of a partition lie."""
    return data_dir / "generations" / str(generation) / f"partition-{partition}.duckdb"


def generation_of(file: Path) -> int:
    """Which generation a partition's file is of."""
    return int(file.parent.name)


def size_of(file: Path) -> int:
    """Its bytes; 0 for one that is not there, or was deleted in this moment."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def open_file(path: Path, *, log_id: str, partition: int, models: Sequence[ReadModel] = READ_MODELS) -> Session:
    """Open or make the partition's file; a file that is of another log, partition or FOLD_VERSION is deleted first.

    `models` are those of a file that is made; one that is there keeps its own (`read_models`). Blocks. Raises FileInUse
    when another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        session = _connect(path)
        found = _identity(session)
    except duckdb.Error as error:
        if not any(sign in str(error) for sign in _UNREADABLE):
            raise
        _delete(path, "unreadable")
        session = _connect(path)
        found = None
    wanted = _wanted_identity(session, log_id, partition)
    if found is not None and found != wanted:
        session.close()
        _delete(path, "other log" if found.get("log_id") != log_id else "folded otherwise")
        session = _connect(path)
        found = None
    if found is None:
        session.execute("BEGIN")
        session.execute("CREATE TABLE file_identity (name VARCHAR, value VARCHAR)")
        for name_value in wanted.items():
            session.execute("INSERT INTO file_identity VALUES ($1, $2)", name_value)
        write_models(session, models)
        fold.create_tables(session, models)
        session.execute("COMMIT")
    return session


def _delete(path: Path, reason: str) -> None:
    """Everything in the file can be folded again from the log."""
    telemetry.warn("read_models_set_aside", file=path.name, reason=reason)
    for name in (path, path.with_name(path.name + ".wal")):
        name.unlink(missing_ok=True)


def _connect(path: Path) -> Session:
    try:
        session = Session(duckdb.connect(str(path)))
    except duckdb.IOException as error:
        if "lock" in str(error):
            raise FileInUse(
                f"{path} is held by another process: another `up` or `projector` runs on this data folder. Stop that "
                "one first, or set STREAMKIT_DATA_DIR to another folder."
            ) from error
        raise
    for setting in _SETTINGS:
        session.execute(setting)
    return session


def identity_of(log_id: str, partition: int) -> dict[str, str]:
    """What a file has to say of itself to be gone on with by this build."""
    session = Session(duckdb.connect())
    try:
        return _wanted_identity(session, log_id, partition)
    finally:
        session.close()


def _wanted_identity(session: Session, log_id: str, partition: int) -> dict[str, str]:
    """Beside log and partition what the rows depend on; DuckDB's hash among it, which is not promised to stay."""
    probe = session.execute("SELECT hash('streamkit')").fetchone()
    assert probe is not None
    folding = {"fold": FOLD_VERSION, "settled_every": [SETTLED_EVERY, SORTED_EVERY], "hash": probe[0]}
    return {"log_id": log_id, "partition": str(partition), "folding": msgspec.json.encode(folding).decode()}


def _identity(session: Session) -> dict[str, str] | None:
    """What the file says it is; {} when it does not say, or not how far it is, None when it is empty."""
    tables = {name for (name,) in session.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    if not tables:
        return None
    if not {"file_identity", "fold_position"} <= tables or not session.execute("FROM fold_position").fetchone():
        return {}
    return dict(session.execute("SELECT name, value FROM file_identity").fetchall())


class Database:
    """One partition's file: a writer thread, one that parses beside it, a few reader threads. No method blocks the event
    loop.

    `models` are those it is folded by, and `is_current` says whether they are of the build's versions, once it is open."""

    def __init__(self, path: Path, *, log_id: str, partition: int) -> None:
        self.path = path
        self.partition = partition
        self.models: Sequence[ReadModel] = READ_MODELS
        self.is_current = True
        self._log_id = log_id
        self._session: Session | None = None
        self._writer = ThreadPoolExecutor(1, thread_name_prefix=f"fold-{partition}")
        self._stagers = ThreadPoolExecutor(1, thread_name_prefix=f"stage-{partition}")
        self._stager: Stager | None = None
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix=f"read-{partition}")
        self._cursors: queue.SimpleQueue[Session] = queue.SimpleQueue()
        self._aside = Aside(f"aside-{partition}")

    async def open(self) -> None:
        """Open the file. Raises FileInUse. Called once, before anything else."""
        await asyncio.get_running_loop().run_in_executor(self._writer, self._open)

    def _open(self) -> None:
        self._session = open_file(self.path, log_id=self._log_id, partition=self.partition)
        found = read_models(self._session)
        self.is_current = versions_of(found) == versions_of(READ_MODELS)
        self.models = READ_MODELS if self.is_current else found
        for _ in range(READERS):
            cursor = self._session.cursor()
            cursor.execute("SET TimeZone = 'UTC'")
            self._cursors.put(cursor)

    async def write(self, work: Callable[[Session], T]) -> T:
        """Run `work` on the writer thread, one at a time. Cancellation abandons the wait, not the work."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, self._write, work)

    def _write(self, work: Callable[[Session], T]) -> T:
        assert self._session is not None, "open() comes first"
        return work(self._session)

    async def stage(self, positions: Sequence[int], values: Sequence[bytes]) -> Staged | None:
        """Parse the records that come after those being folded (Stager.stage), beside the writer. One at a time.
        Cancellation abandons the wait, not the work."""
        return await asyncio.get_running_loop().run_in_executor(self._stagers, self._stage, positions, values)

    def _stage(self, positions: Sequence[int], values: Sequence[bytes]) -> Staged | None:
        if self._stager is None:
            self._stager = Stager(self._cursor())
        return self._stager.stage(positions, values)

    async def read(self, work: Callable[[Session, Second | None], T]) -> T:
        """Run `work` on a reader thread, beside the writer; waits while all readers are busy. When another one is idle,
        `work` is lent it."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    def _read(self, work: Callable[[Session, Second | None], T]) -> T:
        cursor, idle = self._cursors.get(), None
        with contextlib.suppress(queue.Empty):
            idle = self._cursors.get_nowait()
        try:
            return work(cursor, None if idle is None else Second(idle, self._readers.submit))
        finally:
            self._cursors.put(cursor)
            if idle is not None:
                self._cursors.put(idle)

    async def beside(self, work: Callable[[Session], T]) -> T:
        """Run `work`, which may take long, beside folding and answering, and yielding to them; one at a time. Raises
        duckdb.InterruptException when the file is closed meanwhile. Cancellation abandons the wait, not the work."""
        return await self._aside.run(self._cursor, work)

    def _cursor(self) -> Session:
        assert self._session is not None, "open() comes first"
        return self._session.cursor()

    async def reopen(self) -> None:
        """Close the file and open it again, after an error that DuckDB does not recover from. Call it again when it fails:
        until it does not, questions wait."""
        await asyncio.get_running_loop().run_in_executor(self._writer, self._reopen)

    def _reopen(self) -> None:
        self._close_file()
        self._open()

    async def set_aside(self, reason: str) -> None:
        """Delete what was folded and begin with an empty file."""
        await asyncio.get_running_loop().run_in_executor(self._writer, self._set_aside, reason)

    def _set_aside(self, reason: str) -> None:
        self._close_file()
        _delete(self.path, reason)
        self._open()

    def _close_file(self) -> None:
        self._aside.end()
        if self._session is not None:  # None: it was closed before and could not be opened
            for _ in range(READERS):
                self._cursors.get().close()
            session, self._session = self._session, None
            self._close_session(session)

    async def close(self) -> None:
        """Let running work finish (what runs `beside` is cut short), then release file and threads; idempotent."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._aside.close()
        self._readers.shutdown(wait=True)
        self._writer.shutdown(wait=True)
        while not self._cursors.empty():
            self._cursors.get().close()
        if self._session is not None:
            self._close_session(self._session)
            self._session = None
        self._stagers.shutdown(wait=True)

    def _close_session(self, session: Session) -> None:
        stager, self._stager = self._stager, None
        if stager is not None:
            self._stagers.submit(stager.close).result()  # when it has done what it does now
        session.close()
