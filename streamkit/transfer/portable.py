"""A log outside of a log: one row a record, the same in every format, and nothing of it lost.

`value` is the record's JSON, byte for byte where it is JSON in UTF-8 on one line. What is not stands whole in
`base64` beside it: then `value` is null (no JSON), or the same JSON without its line breaks. `base64` wins.
What may not live here: any I/O.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

import msgspec
from msgspec import Struct

from schemas.errors import UNREADABLE, StreamkitError
from streamkit.log.protocol import Batch


class NotTransferred(StreamkitError):
    """What was to be exported or imported could not be; the text says why and what to do. Exit 1."""


class Stored(Struct, frozen=True, gc=False):
    """A record and where it lay in the log that it was exported from."""

    topic: str
    partition: int
    position: int
    key: str
    value: bytes


class Sink(Protocol):
    """Where an export goes. Used by one thread at a time; every method blocks, and may raise OSError."""

    def write(self, topic: str, partition: int, batch: Batch) -> None:
        """Take the records of a batch; those of one partition come in log order."""

    def close(self) -> None:
        """Everything written is durable after this. Call once, after the last `write`."""


class Source(Protocol):
    """What an import comes from."""

    def read(self, topics: Collection[str] | None = None) -> Iterator[Sequence[Stored]]:
        """The records of these topics (None: all there are) in their order there, in chunks; from the beginning at every call.

        Blocks. Raises NotTransferred where it cannot be read, OSError.
        """


_raw = msgspec.json.Decoder(msgspec.Raw)
_NESTED = 100
_DEEP_BYTES = 1_000


def split(value: bytes) -> tuple[bytes | None, str | None]:
    """A record's value as (`value`, `base64`) of a row; one or both are there."""
    try:
        value.decode()
        _raw.decode(value)
        if (
            len(value) > _DEEP_BYTES
        ):  # nested as deep as Python's stack allows it is not read back a little deeper there
            _raw.decode(b"[" * _NESTED + value + b"]" * _NESTED)
    except UNREADABLE:
        return None, b64encode(value).decode()
    if b"\n" in value or b"\r" in value or value.strip() != value:
        return msgspec.json.format(value, indent=-1), b64encode(value).decode()
    return value, None


def join(value: bytes | None, base64: str | None) -> bytes:
    """The record's value again. Raises ValueError where neither is there, or `base64` is none."""
    if base64 is not None:
        try:
            return b64decode(base64, validate=True)
        except ValueError:
            raise ValueError("its base64 is none") from None
    if value is None:
        raise ValueError("it has neither value nor base64")
    return value
