"""The event log: the one Protocol that all adapters satisfy (tests/contracts/ runs one suite over all of them).

A *position* is always the next offset to read; positions of a partition only rise and may have gaps. The partition
of a broadcaster is Java's murmur2 of the decimal `user_id`, modulo the number of partitions, on every adapter.
What may not live here: any I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

from msgspec import Struct

from schemas.errors import RecordTooLarge

EVENTS = "streamkit.events"
CONTROL = "streamkit.control"
VAULT = "streamkit.vault"
DEAD_LETTERS = "streamkit.dead-letters"
TOPICS = (EVENTS, CONTROL, VAULT, DEAD_LETTERS)

MAX_RECORD_BYTES = 1_000_000
"""A record's value may be this long; anything longer is RecordTooLarge, on every adapter."""

MAX_KEY_BYTES = 65_536
"""The same for its key and headers together."""

MAX_POSITION = 2**63 - 1
"""The greatest number that SQLite and Kafka take for a position."""


class Record(Struct, frozen=True):
    """What is appended. `key` decides the partition (events: the decimal `user_id`); `headers` are Kafka's."""

    key: str
    value: bytes
    headers: tuple[tuple[str, str], ...] = ()


class Appended(Struct, frozen=True):
    """Where a record went: `position` is the one right after it."""

    partition: int
    position: int


class Batch(Struct, frozen=True):
    """Records of one partition, as parallel lists in log order; `next_position` is where to read on.

    `positions[i]` is record i's own offset. An empty batch means nothing came within the wait.
    """

    positions: list[int]
    keys: list[str]
    values: list[bytes]
    next_position: int


class PartitionInfo(Struct, frozen=True):
    """One partition's extent: offsets [start, end) and its size in bytes (None where the adapter cannot tell)."""

    topic: str
    partition: int
    start: int
    end: int
    size_bytes: int | None


class EventLog(Protocol):
    """An append-only log of four topics. Safe for concurrent use within one event loop."""

    @property
    def log_id(self) -> str:
        """The log's own random id, made with it. What is kept outside the log names it and is refused for another."""

    def partitions(self, topic: str) -> int:
        """How many partitions the topic has."""

    async def append(self, topic: str, records: Sequence[Record]) -> list[Appended]:
        """Append in order; returns when all are durable, one Appended per record.

        Records of one call and one partition lie in the order given. Raises RecordTooLarge (nothing was appended),
        LogUnavailable (some may have been appended), LogClosed. Cancellation abandons the wait, not the append.
        """

    async def read(self, topic: str, partition: int, position: int, *, limit: int = 1000, wait_s: float = 0.0) -> Batch:
        """Up to `limit` records from `position` on; waits up to `wait_s` seconds for the first.

        Raises LogUnavailable, LogClosed. Cancellation loses nothing: the position is the caller's.
        """

    async def ends(self, topic: str) -> tuple[int, ...]:
        """The end position of every partition: all that was appended before this call lies before them."""

    async def info(self) -> list[PartitionInfo]:
        """Extent and size of every partition of every topic."""

    async def close(self) -> None:
        """Finish the appends under way, release files and connections; idempotent."""


def murmur2(data: bytes) -> int:
    """Java Kafka's murmur2 of `data`, 32 bit unsigned (org.apache.kafka.common.utils.Utils.murmur2)."""
    length = len(data)
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = (0x9747B28C ^ length) & mask
    for i in range(0, length - length % 4, 4):
        k = int.from_bytes(data[i : i + 4], "little") * m & mask
        k = (k ^ (k >> 24)) * m & mask
        h = (h * m & mask) ^ k
    rest = data[length - length % 4 :]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ (h >> 13)) * m & mask
    return h ^ (h >> 15)


@lru_cache(maxsize=65_536)
def partition_of(key: str, partitions: int) -> int:
    """The partition of a record's key, as Java's default partitioner has it."""
    if partitions == 1:
        return 0
    return (murmur2(key.encode()) & 0x7FFFFFFF) % partitions


def check_records(records: Sequence[Record]) -> None:
    """Refuse the whole call when a record does not fit, before any adapter writes.

    Raises RecordTooLarge; UnicodeEncodeError for a key that is no Unicode text (it would fail a whole group later).
    """
    for record in records:
        if len(record.value) > MAX_RECORD_BYTES:
            raise RecordTooLarge(
                f"A record of {len(record.value)} bytes is longer than the {MAX_RECORD_BYTES} bytes the log takes."
            )
        beside = len(record.key.encode())
        for name, value in record.headers:
            beside += len(name.encode()) + len(value.encode())
        if beside > MAX_KEY_BYTES:
            raise RecordTooLarge(
                f"A record's key and headers of {beside} bytes are longer than the {MAX_KEY_BYTES} bytes the log takes."
            )
