"""A log as a folder of Parquet files, `TOPIC/PARTITION/FIRST_POSITION.parquet`: columns as streamkit/transfer/portable.py has them.

SELECT value->>'type', count(*) FROM read_parquet('export/streamkit.events/**/*.parquet') GROUP BY ALL
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path

import duckdb

from projector.session import Session
from streamkit.log.protocol import Batch
from streamkit.transfer.appear import sync_folder
from streamkit.transfer.portable import NotTransferred, Stored, join, split

_FILE_RECORDS = 50_000
_FILE_BYTES = 32 << 20
_CHUNK_RECORDS = 5_000
_SETTINGS = ("SET threads = 1", "SET memory_limit = '512MB'", "SET preserve_insertion_order = true")
_COPY = """
COPY (
    SELECT $1 AS topic, $2::INTEGER AS partition, unnest($3::BIGINT[]) AS position, unnest($4::VARCHAR[]) AS key,
        unnest($5::VARCHAR[]) AS value, unnest($6::VARCHAR[]) AS base64
) TO '{}' (FORMAT parquet, COMPRESSION zstd)
"""
_SELECT = """
SELECT topic, partition, position, key, value, base64 FROM read_parquet($1)
WHERE $2 IS NULL OR list_contains($2::VARCHAR[], topic)
"""


class ParquetSink:
    """Writes below `folder`, which exists; see portable.Sink. A file is written when 50,000 records or 32 MiB are there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._session = _open()
        self._where = "", 0
        self._forget()

    def write(self, topic: str, partition: int, batch: Batch) -> None:
        """Take the records. Raises NotTransferred when a file cannot be written."""
        if (topic, partition) != self._where:
            self._flush()
            self._where = topic, partition
        self._positions += batch.positions
        self._keys += batch.keys
        for whole in batch.values:
            value, base64 = split(whole)
            self._values.append(None if value is None else value.decode())
            self._base64.append(base64)
            self._bytes += len(whole)
        if len(self._positions) >= _FILE_RECORDS or self._bytes >= _FILE_BYTES:
            self._flush()

    def close(self) -> None:
        """Write what is left, bring it to the disk, release the database."""
        try:
            self._flush()
            for folder in (*self._folder.rglob("*/"), self._folder):
                sync_folder(folder)
        finally:
            self._session.close()

    def _flush(self) -> None:
        if not self._positions:
            return
        topic, partition = self._where
        path = self._folder / topic / str(partition) / f"{self._positions[0]:020}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [topic, partition, self._positions, self._keys, self._values, self._base64]
        self._forget()
        try:
            self._session.execute(_COPY.format(str(path).replace("'", "''")), rows)
        except duckdb.Error as error:
            raise NotTransferred(f"{path} cannot be written ({error}).") from error
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def _forget(self) -> None:
        self._positions: list[int] = []
        self._keys: list[str] = []
        self._values: list[str | None] = []
        self._base64: list[str | None] = []
        self._bytes = 0


class ParquetSource:
    """Reads every `*.parquet` below `folder`, in the order of their names; see portable.Source."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, topics: Collection[str] | None = None) -> Iterator[list[Stored]]:
        """The records of `topics` (None: of all), in chunks. The text of a NotTransferred names the file."""
        files = sorted(self._folder.rglob("*.parquet"))
        if not files:
            raise NotTransferred(f"There is no Parquet file below {self._folder}.")
        with closing(_open()) as session:
            for file in files:
                try:
                    found = session.execute(_SELECT, [str(file), None if topics is None else list(topics)])
                    while rows := found.fetchmany(_CHUNK_RECORDS):
                        yield [_stored(row) for row in rows]
                except (duckdb.Error, ValueError) as error:
                    raise NotTransferred(f"{file} holds no records of a log ({error}).") from error


def _stored(row: tuple[str, int, int, str, str | None, str | None]) -> Stored:
    topic, partition, position, key, value, base64 = row
    return Stored(topic, partition, position, key, join(None if value is None else value.encode(), base64))


def _open() -> Session:
    session = Session(duckdb.connect())
    for setting in _SETTINGS:
        session.execute(setting)
    return session
