"""A log as NDJSON, plain (`.ndjson`) or compressed (`.ndjson.zst`): one record a line, as portable.py has it.

{"topic":"streamkit.events","partition":0,"position":17,"key":"1","value":{"schema_version":2,…}}
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, BinaryIO

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from schemas.errors import UNREADABLE
from streamkit.log.protocol import Batch
from streamkit.transfer.portable import NotTransferred, Stored, join, split

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PLAIN, COMPRESSED = ".ndjson", ".ndjson.zst"

_BUFFER_BYTES = 1 << 20
_CHUNK_RECORDS = 5_000
_CHUNK_BYTES = 8 << 20
_MAX_LINE_BYTES = 8 << 20
"""The largest key and value there can be, each escaped or in base64, are shorter."""
_ZSTD: dict[int, int] = {zstd.CompressionParameter.compression_level: 3, zstd.CompressionParameter.checksum_flag: 1}


class _Line(Struct, frozen=True, gc=False):
    topic: str
    partition: int
    position: int
    key: str
    value: Raw | UnsetType = UNSET
    base64: str | UnsetType = UNSET


_line = msgspec.json.Decoder(_Line)
_encode = msgspec.json.Encoder().encode


class NdjsonSink:
    """Writes to `path`, compressed or not; see portable.Sink."""

    def __init__(self, path: Path, *, compressed: bool) -> None:
        """Raises OSError when the file cannot be written."""
        self._file = path.open("wb", buffering=_BUFFER_BYTES)
        self._out: zstd.ZstdFile | BinaryIO = zstd.open(self._file, "wb", options=_ZSTD) if compressed else self._file

    def write(self, topic: str, partition: int, batch: Batch) -> None:
        """Append a line for each record."""
        head = b'{"topic":%b,"partition":%d,"position":' % (_encode(topic), partition)
        lines = []
        for position, key, whole in zip(batch.positions, batch.keys, batch.values, strict=True):
            value, base64 = split(whole)
            beside = b"" if base64 is None else b',"base64":%b' % _encode(base64)
            lines.append(b'%b%d,"key":%b,"value":%b%b}\n' % (head, position, _encode(key), value or b"null", beside))
        self._out.write(b"".join(lines))

    def close(self) -> None:
        """End the compressed stream, and bring the file to the disk."""
        with self._file:
            if self._out is not self._file:
                self._out.close()
            self._file.flush()
            os.fsync(self._file.fileno())


class NdjsonSource:
    """Reads `path`, compressed or not; see portable.Source. Empty lines are passed over."""

    def __init__(self, path: Path, *, compressed: bool) -> None:
        self._path = path
        self._compressed = compressed

    def read(self, topics: Collection[str] | None = None) -> Iterator[list[Stored]]:
        """The records of `topics` (None: of all), in chunks. The text of a NotTransferred names the line."""
        number = 0
        try:
            with ExitStack() as stack:
                file: IO[bytes] = stack.enter_context(self._path.open("rb", buffering=_BUFFER_BYTES))
                if self._compressed:
                    unpacked = stack.enter_context(zstd.open(file, "rb"))
                    file = io.BufferedReader(unpacked, _BUFFER_BYTES)
                chunk, size = [], 0
                while line := file.readline(_MAX_LINE_BYTES):
                    number += 1
                    stored = self._stored(line, number)
                    if stored is None or (topics is not None and stored.topic not in topics):
                        continue
                    chunk.append(stored)
                    size += len(line)
                    if len(chunk) >= _CHUNK_RECORDS or size >= _CHUNK_BYTES:
                        yield chunk
                        chunk, size = [], 0
                yield chunk
        except (zstd.ZstdError, EOFError) as error:
            raise NotTransferred(
                f"{self._path} is no whole zstd file (after line {number}: {error}): export or copy it again."
            ) from None

    def _stored(self, text: bytes, number: int) -> Stored | None:
        if text.isspace():
            return None
        try:
            line = _line.decode(text)
            base64 = None if line.base64 is UNSET else line.base64
            value = join(None if line.value is UNSET else bytes(line.value), base64)
        except (*UNREADABLE, ValueError) as error:
            raise NotTransferred(f"{self._path}, line {number} is no record of a log: {error}.") from None
        return Stored(line.topic, line.partition, line.position, line.key, value)
