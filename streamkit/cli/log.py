"""`streamkit log`: what the event log holds. Works while the services run."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Any

import click
import msgspec
from msgspec import Struct

from schemas.control import AwareTime
from schemas.errors import UNREADABLE
from streamkit.cli.common import emit, emit_json, json_option, on_one_line, opened_log, run, table
from streamkit.cli.records import Entry, entries, read_to_end, say_unreadable
from streamkit.log.protocol import EVENTS, EventLog, PartitionInfo, partition_of
from streamkit.settings import Settings

DEFAULT_LAST = 20
_FOLLOW_WAIT_S = 5.0


@click.group()
def log() -> None:
    """The event log: the only truth.

    \b
    Example:
      streamkit log tail --follow
    """


@log.command("info")
@json_option
def info(as_json: bool) -> None:
    """Positions and sizes of every topic's partitions; an end is the position of the next record.

    \b
    Example:
      streamkit log info
    """

    async def work(settings: Settings) -> tuple[str, list[PartitionInfo]]:
        async with opened_log(settings, create=False) as log:
            return log.log_id, await log.info()

    log_id, partitions = run(work, as_json=as_json)
    rows = [(p.topic, p.partition, p.start, p.end, p.size_bytes) for p in partitions]
    text = f"Log {log_id}\n" + table(("TOPIC", "PARTITION", "START", "END", "BYTES"), rows)
    emit({"log_id": log_id, "partitions": msgspec.to_builtins(partitions)}, text, as_json=as_json)


@log.command("tail")
@click.option("--follow", is_flag=True, help="Go on with what comes, until interrupted.")
@click.option("--user-id", type=int, help="Only this broadcaster's events.")
@click.option("--type", "kind", metavar="TYPE", help="Only events of this type, e.g. kicks.gifted.")
@click.option("--last", type=click.IntRange(0), help="How many to begin with [default: 20; with --jsonl all].")
@click.option("--jsonl", is_flag=True, help="One JSON object a line: the event, its partition and position.")
@json_option
def tail(follow: bool, user_id: int | None, kind: str | None, last: int | None, jsonl: bool, as_json: bool) -> None:
    """The newest events, oldest first. A record that is no event is named on stderr and passed over.

    \b
    Example:
      streamkit log tail --user-id 1 --type kicks.gifted --jsonl | head
    """
    if as_json and (follow or jsonl):
        raise click.UsageError("--json gives one document; use --jsonl with --follow.")
    if last is None and not jsonl:
        last = DEFAULT_LAST

    async def work(settings: Settings) -> list[dict[str, Any]]:
        async with opened_log(settings, create=follow) as log:
            tail = _Tail(log, user_id, kind)
            if last is None:
                async for event in tail.all():
                    _print(event, jsonl=jsonl)
                kept: list[dict[str, Any]] = []
            else:
                kept = await tail.last(last)
            if as_json:
                return kept
            for event in kept:
                _print(event, jsonl=jsonl)
            if follow:
                await tail.follow(jsonl=jsonl)
            return []

    events = run(work, as_json=as_json)
    if as_json:
        emit_json(events)


class _Shape(Struct):
    """What a line needs of an event, of whatever version."""

    received_at: AwareTime
    actor: dict[str, Any] | None = None
    data: dict[str, Any] = {}


class _Tail:
    """The chosen events of a log, and how far each partition was read."""

    def __init__(self, log: EventLog, user_id: int | None, kind: str | None) -> None:
        count = log.partitions(EVENTS)
        partitions = range(count) if user_id is None else [partition_of(str(user_id), count)]
        self._log = log
        self._user_id = user_id
        self._kind = kind
        self._positions = dict.fromkeys(partitions, 0)

    async def all(self) -> AsyncIterator[dict[str, Any]]:
        """To the present end, partition by partition."""
        for partition in self._positions:
            async for entry in read_to_end(self._log, EVENTS, partition):
                self._positions[partition] = entry.position + 1
                for event in self._chosen(entry):
                    yield event

    async def last(self, count: int) -> list[dict[str, Any]]:
        """The newest `count`, by receipt."""
        found: list[dict[str, Any]] = []
        for partition in self._positions:
            newest: deque[dict[str, Any]] = deque(maxlen=count)
            async for entry in read_to_end(self._log, EVENTS, partition):
                self._positions[partition] = entry.position + 1
                newest.extend(self._chosen(entry))
            found.extend(newest)
        found.sort(key=_by_receipt)
        return found[-count:] if count else []

    async def follow(self, *, jsonl: bool) -> None:
        """Print what comes, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for partition in self._positions:
                group.create_task(self._follow(partition, jsonl))

    async def _follow(self, partition: int, jsonl: bool) -> None:
        position = self._positions[partition]
        while True:
            batch = await self._log.read(EVENTS, partition, position, wait_s=_FOLLOW_WAIT_S)
            for entry in entries(batch, partition):
                for event in self._chosen(entry):
                    _print(event, jsonl=jsonl)
            position = batch.next_position

    def _chosen(self, entry: Entry) -> Iterator[dict[str, Any]]:
        try:
            found: dict[str, Any] = msgspec.json.decode(entry.value)
            msgspec.convert(found, _Shape)
        except UNREADABLE:
            say_unreadable(EVENTS, entry)
            return
        event = {"partition": entry.partition, "position": entry.position, **found}
        if self._user_id in (None, event.get("user_id")) and self._kind in (None, event.get("type")):
            yield event


def _by_receipt(event: dict[str, Any]) -> tuple[datetime, int, int]:
    return datetime.fromisoformat(event["received_at"]), event["partition"], event["position"]


def _print(event: dict[str, Any], *, jsonl: bool) -> None:
    if jsonl:
        line = msgspec.json.encode(event).decode()
    else:
        actor = event.get("actor") or {}
        data = {name: value for name, value in event.get("data", {}).items() if name in _TOLD}
        told = " ".join(str(value) for value in data.values())
        line = on_one_line(
            f"{event['partition']}:{event['position']}  {event.get('received_at')}  {event.get('user_id')}  "
            f"{event.get('platform')}  {event.get('type')}  {actor.get('name', '-')}  {told}".rstrip()
        )
    click.echo(line)


_TOLD = ("amount", "count", "months", "message", "title", "category_name", "is_live", "status", "viewers")
