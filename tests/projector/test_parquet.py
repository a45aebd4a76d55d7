"""A log in Parquet comes back as it was, and DuckDB reads it as it is."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from projector import parquet
from projector.parquet import ParquetSink, ParquetSource
from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import CONTROL, EVENTS, MAX_KEY_BYTES, MAX_RECORD_BYTES, Batch
from streamkit.transfer.exporting import export_log
from streamkit.transfer.portable import NotTransferred, Stored
from tests.streamkit.transfer.rows import Kept, fill, no_progress


def read(folder: Path, *topics: str) -> list[Stored]:
    return [stored for chunk in ParquetSource(folder).read(topics or None) for stored in chunk]


def write(folder: Path, *batches: tuple[str, int, Batch]) -> None:
    sink = ParquetSink(folder)
    for batch in batches:
        sink.write(*batch)
    sink.close()


def batch(*values: bytes, start: int = 0, key: str = "1") -> Batch:
    return Batch(list(range(start, start + len(values))), [key] * len(values), list(values), start + len(values))


async def test_a_whole_log_comes_back_as_it_was(tmp_path: Path) -> None:
    log = MemoryLog(3)
    await fill(log)
    sink, kept = ParquetSink(tmp_path), Kept()
    await export_log(log, sink, no_progress)
    sink.close()
    await export_log(log, kept, no_progress)
    assert sorted(read(tmp_path), key=repr) == sorted(kept.rows, key=repr)
    assert read(tmp_path, CONTROL) == [row for row in kept.rows if row.topic == CONTROL]


def test_many_files_keep_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_FILE_RECORDS", 10)
    batches = [batch(*(b"%d" % (start + n) for n in range(4)), start=start) for start in range(0, 40, 4)]
    write(tmp_path, *((EVENTS, 11, each) for each in batches))
    assert len(list((tmp_path / EVENTS / "11").iterdir())) == 4
    assert [row.value for row in read(tmp_path)] == [b"%d" % n for n in range(40)]


def test_files_are_written_before_memory_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_FILE_BYTES", 1_000)
    sink = ParquetSink(tmp_path)
    sink.write(EVENTS, 0, batch(b'"%s"' % (b"x" * 2_000)))
    assert [file.name for file in tmp_path.rglob("*.parquet")] == ["00000000000000000000.parquet"]
    sink.close()


def test_the_largest_record_there_is(tmp_path: Path) -> None:
    largest = batch(b"\xff" * MAX_RECORD_BYTES, b'"%s"' % (b"x" * (MAX_RECORD_BYTES - 2)), key="\x00" * MAX_KEY_BYTES)
    write(tmp_path, (EVENTS, 0, largest))
    assert [(row.key, row.value) for row in read(tmp_path)] == [
        ("\x00" * MAX_KEY_BYTES, each) for each in largest.values
    ]


def test_the_query_of_the_docs(tmp_path: Path) -> None:
    folder = tmp_path / "o'clock"
    folder.mkdir()
    write(folder, (EVENTS, 0, batch(b'{"type":"kicks.gifted"}', b'{"type":"kicks.gifted"}', b"\xff")))
    with duckdb.connect() as db:
        files = str(folder / "streamkit.events/**/*.parquet")
        counted = db.execute("SELECT value->>'type', count(*) FROM read_parquet($1) GROUP BY ALL", [files]).fetchall()
        columns = [row[0] for row in db.execute("DESCRIBE FROM read_parquet($1)", [files]).fetchall()]
    assert sorted(counted, key=repr) == [("kicks.gifted", 2), (None, 1)]
    assert columns == ["topic", "partition", "position", "key", "value", "base64"]


@pytest.mark.parametrize("content", [None, b"", b"no Parquet at all", b"SELECT 1 AS topic", b"SELECT NULL"])
def test_a_folder_of_something_else_is_told_so(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        file = tmp_path / "a.parquet"
        if content.startswith(b"SELECT"):
            with duckdb.connect() as db:
                db.execute(f"COPY ({content.decode()}) TO '{file}' (FORMAT parquet)")
        else:
            file.write_bytes(content)
    with pytest.raises(NotTransferred, match=r"no Parquet file below|a\.parquet holds no records of a log"):
        read(tmp_path)


def test_a_row_without_value_is_told_so(tmp_path: Path) -> None:
    write(tmp_path, (EVENTS, 0, batch(b"1")))
    (file,) = tmp_path.rglob("*.parquet")
    with duckdb.connect() as db:
        db.execute(f"CREATE TABLE rows AS SELECT * REPLACE (NULL::VARCHAR AS value) FROM '{file}'")
        db.execute(f"COPY rows TO '{file}' (FORMAT parquet)")
    with pytest.raises(NotTransferred, match="neither value nor base64"):
        read(tmp_path)


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    sink = ParquetSink(tmp_path)
    (tmp_path / EVENTS / "0" / f"{0:020}.parquet").mkdir(parents=True)
    sink.write(EVENTS, 0, batch(b"1"))
    with pytest.raises(NotTransferred, match="cannot be written"):
        sink.close()
