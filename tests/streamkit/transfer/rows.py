"""Records of every sort, and sinks and sources without a file, for the tests of what moves a log."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime

from schemas.control import (
    BroadcasterRegistered,
    ControlEvent,
    DeadLettersDropped,
    DeadLettersRedriven,
    LogCreated,
    encode_control,
)
from schemas.dead_letter import DeadLetter, encode_dead_letter, letter_key
from schemas.errors import ParkReason
from schemas.event import encode_event
from streamkit.log.protocol import CONTROL, DEAD_LETTERS, EVENTS, TOPICS, VAULT, Batch, EventLog, Record
from streamkit.transfer.portable import Stored
from tests.strategies import seeded_log
from tests.unreadable import UNREADABLE

AT = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
LOG_CREATED = Record("log", encode_control(LogCreated(at=AT, log_id="another")))


def letter(reason: ParkReason, event_id: str, place: tuple[int, int] | None = None) -> DeadLetter:
    """A dead letter; `place` on the events log is of a fold_failed."""
    partition, position = place or (None, None)
    return DeadLetter(
        reason=reason,
        platform="kick",
        type="kicks.gifted",
        event_id=event_id,
        user_id=None,
        received_at=AT,
        detail="of a test",
        headers={"kick-event-type": "kicks.gifted"},
        body=b"\xff{",
        partition=partition,
        position=position,
    )


def letter_record(one: DeadLetter) -> Record:
    """As ingest and the projector append it."""
    key = one.event_id if one.partition is None else f"{one.partition}:{one.position}"
    return Record(key, encode_dead_letter(one))


async def fill(log: EventLog, size: int = 60) -> None:
    """Events of a few broadcasters, what is no event, and records of every other topic, some naming events' places."""
    events = [Record(str(event.user_id), encode_event(event)) for event in seeded_log(7, size)]
    broken = [Record("1", value) for value in UNREADABLE]
    places = [(one.partition, one.position - 1) for one in await log.append(EVENTS, events + broken)]
    failed = [letter("fold_failed", f"{p}:{n}", (p, n)) for p, n in places[-len(broken) :]]
    named = letter("fold_failed", "kick:7", places[3])
    letters = [letter("unknown_type", "kick:1"), named, *failed, letter("malformed", "kick:2")]
    await log.append(DEAD_LETTERS, [letter_record(one) for one in letters] + [Record("x", b"\xff")])
    control: list[ControlEvent] = [
        BroadcasterRegistered(at=AT, user_id=1, name="One"),
        DeadLettersRedriven(at=AT, by="me", letters=(letter_key(named), "unknown_type kick:1")),
        DeadLettersDropped(at=AT, by="me", why="no use", letters=tuple(letter_key(one) for one in failed[:2])),
    ]
    await log.append(CONTROL, [Record(f"k{n}", encode_control(event)) for n, event in enumerate(control)])
    await log.append(CONTROL, [Record("y", b'{"type":"of a newer build","at":"2026-11-24T08:00:00Z"}')])
    await log.append(VAULT, [Record("1:kick", b"first"), Record("1:twitch", b'{"c":"b64"}'), Record("1:kick", b"\x00")])


async def rows(log: EventLog) -> list[Stored]:
    """All of a log, topic by topic."""
    found = []
    for topic in TOPICS:
        for partition in range(log.partitions(topic)):
            batch = await log.read(topic, partition, 0, limit=1_000_000)
            for position, key, value in zip(batch.positions, batch.keys, batch.values, strict=True):
                found.append(Stored(topic, partition, position, key, value))
    return found


class Kept:
    """A Sink that keeps what it is given."""

    def __init__(self) -> None:
        self.rows: list[Stored] = []

    def write(self, topic: str, partition: int, batch: Batch) -> None:
        for position, key, value in zip(batch.positions, batch.keys, batch.values, strict=True):
            self.rows.append(Stored(topic, partition, position, key, value))

    def close(self) -> None:
        """Nothing is held."""


class Given:
    """A Source of these rows, in chunks of seven."""

    def __init__(self, rows: Sequence[Stored]) -> None:
        self._rows = rows

    def read(self, topics: Collection[str] | None = None) -> Iterator[Sequence[Stored]]:
        wanted = [row for row in self._rows if topics is None or row.topic in topics]
        for start in range(0, len(wanted), 7):
            yield wanted[start : start + 7]


def no_progress(what: str, done: int, total: int | None) -> None:
    """Nobody looks."""
