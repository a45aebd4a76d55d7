"""Lines that every tool reads, and that come back byte for byte; files that are damaged are told so."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from msgspec import Struct

from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import CONTROL, EVENTS, MAX_KEY_BYTES, MAX_RECORD_BYTES, Batch
from streamkit.transfer.exporting import export_log
from streamkit.transfer.ndjson import NdjsonSink, NdjsonSource
from streamkit.transfer.portable import NotTransferred, Stored
from tests.streamkit.transfer.rows import Kept, fill, no_progress

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


class Format(Struct):
    path: Path
    compressed: bool

    def write(self, *batches: tuple[str, int, Batch]) -> None:
        sink = NdjsonSink(self.path, compressed=self.compressed)
        for batch in batches:
            sink.write(*batch)
        sink.close()

    def read(self, *topics: str) -> list[Stored]:
        source = NdjsonSource(self.path, compressed=self.compressed)
        return [stored for chunk in source.read(topics or None) for stored in chunk]


@pytest.fixture(params=[False, True], ids=["plain", "zstd"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Format:
    return Format(tmp_path / "log", request.param)


def batch(*values: bytes, start: int = 0, key: str = "1") -> Batch:
    return Batch(list(range(start, start + len(values))), [key] * len(values), list(values), start + len(values))


async def test_a_whole_log_comes_back_as_it_was(file: Format) -> None:
    log = MemoryLog(3)
    await fill(log)
    sink, kept = NdjsonSink(file.path, compressed=file.compressed), Kept()
    await export_log(log, sink, no_progress)
    sink.close()
    await export_log(log, kept, no_progress)
    assert file.read() == kept.rows
    assert file.read(CONTROL) == [row for row in kept.rows if row.topic == CONTROL]


def test_a_line_is_what_the_docs_say(tmp_path: Path) -> None:
    file = Format(tmp_path / "log", compressed=False)
    file.write((EVENTS, 2, batch(b'{"a": "\xc3\xa9"}', b"\xff", b'{"b":\n1}', start=17, key='"\u2028')))
    lines = file.path.read_text().split("\n")
    assert lines[0].startswith(
        '{"topic":"streamkit.events","partition":2,"position":17,"key":"\\"\u2028","value":{"a": '
    )
    told = [json.loads(line) for line in lines[:3]]
    assert [set(line) - {"base64"} for line in told] == [{"topic", "partition", "position", "key", "value"}] * 3
    assert [(line["value"], line.get("base64")) for line in told] == [
        ({"a": "é"}, None),
        (None, "/w=="),
        ({"b": 1}, "eyJiIjoKMX0="),
    ]
    assert lines[3:] == [""]


def test_the_largest_record_there_is(file: Format) -> None:
    largest = batch(b"\n" * (MAX_RECORD_BYTES - 1) + b"1", b"\xff" * MAX_RECORD_BYTES, key="\x01" * MAX_KEY_BYTES)
    file.write((EVENTS, 0, largest))
    assert [row.value for row in file.read()] == largest.values


def test_nothing_but_the_five_is_needed_and_empty_lines_are_none(tmp_path: Path) -> None:
    file = Format(tmp_path / "log", compressed=False)
    file.path.write_text(
        '\n{"key": "1", "more": 1, "value": null, "position": 4, "partition": 0, "topic": "streamkit.events"}\n\n'
        '{"topic":"streamkit.events","partition":0,"position":5,"key":"1","value":[ 1 ]}'
    )
    assert file.read() == [Stored(EVENTS, 0, 4, "1", b"null"), Stored(EVENTS, 0, 5, "1", b"[ 1 ]")]


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense",
        b'{"topic":"streamkit.events","partition":0,"position":1,"key":"1"}',
        b'{"topic":"streamkit.events","partition":0,"key":"1","value":1}',
        b'{"topic":"streamkit.events","partition":0,"position":"1","key":"1","value":1}',
        b'{"topic":"streamkit.events","partition":0,"position":1,"key":"1","value":1,"base64":"*"}',
        b'{"topic":"streamkit.events","partition":0,"position":1,"key":"\xff","value":1}',
        b'{"topic":"streamkit.events","partition":0,"position":1,"key":"1","val',
        b"x" * (9 << 20),
    ],
)
def test_a_line_that_is_no_record_is_named(tmp_path: Path, line: bytes) -> None:
    file = Format(tmp_path / "log", compressed=False)
    file.write((EVENTS, 0, batch(b"1")))
    with file.path.open("ab") as more:
        more.write(line + b"\n")
    with pytest.raises(NotTransferred, match="line 2 is no record of a log"):
        file.read()


def test_a_damaged_zstd_file_is_told_so(tmp_path: Path) -> None:
    file = Format(tmp_path / "log", compressed=True)
    file.write((EVENTS, 0, batch(*(b'{"number":%d}' % number for number in range(50_000)))))
    whole = file.path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for damaged in (whole[:-1], whole[: len(whole) // 2], bytes(flipped), b"", b"no zstd at all"):
        file.path.write_bytes(damaged)
        with pytest.raises(NotTransferred, match=r"is no (whole zstd file|record of a log)"):
            file.read()


def test_what_others_compressed_is_read_too(tmp_path: Path) -> None:
    file = Format(tmp_path / "log", compressed=True)
    line = b'{"topic":"streamkit.events","partition":0,"position":%d,"key":"1","value":1}\n'
    file.path.write_bytes(zstd.compress(line % 1, 19) + zstd.compress(line % 2))
    assert [row.position for row in file.read()] == [1, 2]
