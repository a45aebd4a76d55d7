"""Bytes that are no record of ours, each in its own way. What reads a topic passes over all of them."""

from __future__ import annotations

UNREADABLE: tuple[bytes, ...] = (
    b"",
    b"not json",
    b"\xff\xfe",
    b"null",
    b"[]",
    b"{}",
    b'{"type":"\xff","schema_version":2,"event_id":"\xff","received_at":"\xff"}',
    b'{"a":' * 100_000,
    b'{"type":' + b"[" * 100_000,
    b'{"schema_version":1,"type":"chat.message.sent","data":3}',
    b'{"schema_version":1,"type":"chat.message.sent","data":{"message":3}}',
    b'{"schema_version":1}',
    b'{"schema_version":2,"received_at":"2026-01-01T00:00:00","data":{}}',  # a time without offset
    b'{"schema_version":2,"received_at":"2026-01-01T00:00:00Z","data":4}',
    b'{"schema_version":2,"received_at":"2026-01-01T00:00:00Z","actor":"Ann","data":{}}',
)
