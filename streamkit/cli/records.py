"""Reading a topic from a command: to its present end, in order, past what cannot be read."""

from __future__ import annotations

from collections.abc import AsyncIterator

import click
from msgspec import Struct

from streamkit.log.protocol import Batch, EventLog

_LIMIT = 5_000


class Entry(Struct, frozen=True):
    """One record where it lies."""

    partition: int
    position: int
    value: bytes


def entries(batch: Batch, partition: int) -> list[Entry]:
    """The records of a batch."""
    return [Entry(partition, position, value) for position, value in zip(batch.positions, batch.values, strict=True)]


async def read_to_end(log: EventLog, topic: str, partition: int, start: int = 0) -> AsyncIterator[Entry]:
    """The records of one partition from `start` to the end it has now. Raises LogUnavailable."""
    end = (await log.ends(topic))[partition]
    position = start
    while position < end:
        batch = await log.read(topic, partition, position, limit=_LIMIT, wait_s=1.0)
        for entry in entries(batch, partition):
            yield entry
        if batch.next_position == position:
            return  # what lies between here and the end is no record
        position = batch.next_position


def say_unreadable(topic: str, entry: Entry) -> None:
    """One sentence on stderr about a record that is passed over."""
    place = f"{entry.partition}:{entry.position} of {topic}"
    click.echo(f"streamkit: The record at {place} is not one that this build can read; it is passed over.", err=True)
