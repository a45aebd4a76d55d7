"""Records that cannot be folded: find the one at fault, keep it as a dead letter, notice when it is not the record.

A batch that fails is halved until one record is left. That one is parked and the partition goes on, unless ten in a
row failed from more than one broadcaster: then the fold is at fault, not the records, and the partition stops.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from projector.staging import BadRecord
from schemas.dead_letter import DeadLetter, encode_dead_letter
from schemas.errors import UNREADABLE
from schemas.event import utc_now
from streamkit import telemetry
from streamkit.log.protocol import Record

RUN_LENGTH = 10


class PartitionStopped(Exception):
    """The fold itself seems to be at fault; the text says what to do."""


class Records(Struct, frozen=True):
    """Consecutive records of one partition; the file stands at or before the first, and at `next_position` after."""

    positions: Sequence[int]
    keys: Sequence[str]
    values: Sequence[bytes]
    next_position: int

    def without(self, positions: Container[int]) -> Records:
        """All but the records at these positions."""
        kept = [index for index, position in enumerate(self.positions) if position not in positions]
        if len(kept) == len(self.positions):
            return self
        return Records(
            positions=[self.positions[index] for index in kept],
            keys=[self.keys[index] for index in kept],
            values=[self.values[index] for index in kept],
            next_position=self.next_position,
        )

    def split(self, culprit: int | None) -> list[Records]:
        """In two halves, or around the record at position `culprit`, in log order; none is empty."""
        if culprit is None:
            cuts = [len(self.positions) // 2]
        else:
            at = list(self.positions).index(culprit)
            cuts = [at, at + 1]
        parts = []
        begin = 0
        for end in [*cuts, len(self.positions)]:
            if begin < end:
                next_position = self.positions[end] if end < len(self.positions) else self.next_position
                parts.append(
                    Records(
                        positions=self.positions[begin:end],
                        keys=self.keys[begin:end],
                        values=self.values[begin:end],
                        next_position=next_position,
                    )
                )
            begin = end
        return parts


class Run:
    """The failures in a row of one partition."""

    def __init__(self, partition: int) -> None:
        self._partition = partition
        self._keys: list[str] = []

    def folded(self) -> None:
        """A record was folded: the row ends."""
        self._keys.clear()

    def failed(self, key: str, position: int) -> None:
        """One more failed, of the broadcaster `key`. Raises PartitionStopped when it is not the record's fault."""
        self._keys.append(key)
        if len(self._keys) < RUN_LENGTH:
            return
        broadcasters = len(set(self._keys))
        if broadcasters > 1:
            raise PartitionStopped(
                f"Partition {self._partition} stopped before position {position}: {len(self._keys)} events in a row"
                f" of {broadcasters} broadcasters could not be folded. Start the version that ran before, or a"
                " repaired one; the events wait in the log."
            )
        if len(self._keys) == RUN_LENGTH:
            telemetry.error("fold_failed_in_a_row", partition=self._partition, user_id=key, events=RUN_LENGTH)


def dead_letter(partition: int, position: int, value: bytes, error: Exception) -> Record:
    """The record of a `fold_failed` dead letter: keyed by where the event lies in the log, the body verbatim."""
    known = _readable(value)
    detail = error.detail if isinstance(error, BadRecord) else f"the fold failed: {type(error).__name__}"
    too_long = len(value) > 700_000
    letter = DeadLetter(
        reason="fold_failed",
        platform=_text(known.get("platform")),
        type=_text(known.get("type")),
        event_id=_text(known.get("event_id")) or f"{partition}:{position}",
        user_id=known["user_id"] if type(known.get("user_id")) is int else None,
        received_at=_time(known.get("received_at")),
        detail=f"{detail}; too long to repeat here, it lies in the events log" if too_long else detail,
        headers={},
        body=b"" if too_long else value,
        partition=partition,
        position=position,
    )
    return Record(key=f"{partition}:{position}", value=encode_dead_letter(letter))


def _readable(value: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(value)
    except UNREADABLE:
        return {}
    return found if isinstance(found, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _time(value: object) -> datetime:
    try:
        return msgspec.convert(value, datetime)
    except msgspec.ValidationError:
        return utc_now()
