"""`streamkit dead-letters`: deliveries and records that are kept verbatim because they are no event (yet)."""

from __future__ import annotations

import base64
from typing import Any

import click
from msgspec import Struct

from schemas.dead_letter import DeadLetter, decode_dead_letter
from schemas.errors import UNREADABLE
from streamkit.cli.common import Failure, emit, json_option, opened_log, run, table
from streamkit.cli.records import read_to_end, say_unreadable
from streamkit.log.protocol import DEAD_LETTERS, EventLog
from streamkit.settings import Settings


class Kept(Struct, frozen=True):
    """A dead letter and where it lies."""

    position: int
    letter: DeadLetter


@click.group("dead-letters")
def dead_letters() -> None:
    """Deliveries that are no event (yet), with the reason.

    \b
    Example:
      streamkit dead-letters list
    """


@dead_letters.command("list")
@json_option
def list_letters(as_json: bool) -> None:
    """What is parked, each once: oldest first.

    \b
    Example:
      streamkit dead-letters list --json
    """

    async def work(settings: Settings) -> list[Kept]:
        async with opened_log(settings) as log:
            return await distinct_letters(log)

    kept = run(work, as_json=as_json)
    names = ("position", "reason", "platform", "type", "event_id", "received_at")
    rows = [
        (one.position, *(getattr(one.letter, name) for name in names[1:-1]), one.letter.received_at.isoformat())
        for one in kept
    ]
    document = [dict(zip(names, row, strict=True)) for row in rows]
    emit(document, table([name.upper() for name in names], rows) if rows else "None.", as_json=as_json)


@dead_letters.command("show")
@click.argument("position", type=click.IntRange(0))
@json_option
def show(position: int, as_json: bool) -> None:
    """One dead letter whole: headers and body as they came. Exit 1 when there is none at POSITION.

    \b
    Example:
      streamkit dead-letters show 3
    """

    async def work(settings: Settings) -> DeadLetter:
        async with opened_log(settings) as log:
            batch = await log.read(DEAD_LETTERS, 0, position, limit=1)
            if batch.positions[:1] != [position]:
                raise Failure(f"There is no dead letter at {position}; `streamkit dead-letters list` shows them.")
            try:
                return decode_dead_letter(batch.values[0])
            except UNREADABLE:
                raise Failure(f"The record at {position} is no dead letter that this build can read.") from None

    letter = run(work, as_json=as_json)
    document = _document(position, letter)
    text = "\n".join(f"{name}: {value}" for name, value in document.items() if name not in ("headers", "body"))
    headers = "\n".join(f"  {name}: {value}" for name, value in letter.headers.items())
    emit(document, f"{text}\nheaders:\n{headers}\nbody:\n{document['body']}", as_json=as_json)


async def distinct_letters(log: EventLog) -> list[Kept]:
    """Every dead letter once: of equal (event id, reason), or of equal place on the events log, the first.

    Raises LogUnavailable.
    """
    seen: set[tuple[object, ...]] = set()
    kept = []
    async for entry in read_to_end(log, DEAD_LETTERS, 0):
        try:
            letter = decode_dead_letter(entry.value)
        except UNREADABLE:
            say_unreadable(DEAD_LETTERS, entry)
            continue
        if letter.reason == "fold_failed":
            what: tuple[object, ...] = (letter.reason, letter.partition, letter.position)
        else:
            what = (letter.reason, letter.event_id)
        if what not in seen:
            seen.add(what)
            kept.append(Kept(entry.position, letter))
    return kept


def _document(position: int, letter: DeadLetter) -> dict[str, Any]:
    """`body` as text, or `body_base64` besides where it is no UTF-8."""
    document: dict[str, Any] = {
        "position": position,
        "reason": letter.reason,
        "detail": letter.detail,
        "platform": letter.platform,
        "type": letter.type,
        "event_id": letter.event_id,
        "user_id": letter.user_id,
        "received_at": letter.received_at.isoformat(),
        "events_partition": letter.partition,
        "events_position": letter.position,
        "headers": letter.headers,
        "body": letter.body.decode(errors="replace"),
    }
    try:
        letter.body.decode()
    except UnicodeDecodeError:
        document["body_base64"] = base64.b64encode(letter.body).decode()
    return document
