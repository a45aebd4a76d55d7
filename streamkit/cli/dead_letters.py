"""`streamkit dead-letters`: deliveries and records that are kept verbatim because they are no event (yet)."""

from __future__ import annotations

import base64
from contextlib import suppress
from typing import Any

import click
import msgspec

from schemas.dead_letter import DeadLetter
from schemas.errors import UNREADABLE
from streamkit.cli.closing import Closer
from streamkit.cli.common import Failure, emit, json_option, on_one_line, opened_log, run, table
from streamkit.cli.letters import (
    Closed,
    Closures,
    Letter,
    Selection,
    letter_choice,
    letter_filters,
    open_letters,
    read_letters,
    whole_letter,
)
from streamkit.cli.records import say_unreadable
from streamkit.cli.who import Who, who_options
from streamkit.log.protocol import DEAD_LETTERS, MAX_POSITION
from streamkit.settings import Settings


@click.group("dead-letters")
def dead_letters() -> None:
    """Deliveries that are no event (yet), with the reason.

    \b
    Example:
      streamkit dead-letters list
    """


@dead_letters.command("list")
@letter_filters
@click.option("--all-states", is_flag=True, help="Those that were redriven or dropped too.")
@json_option
def list_letters(selection: Selection, all_states: bool, as_json: bool) -> None:
    """What is parked and open, each once: oldest first.

    \b
    Example:
      streamkit dead-letters list --reason unknown_broadcaster --json
    """

    async def work(settings: Settings) -> list[tuple[object, ...]]:
        async with opened_log(settings, create=False) as log:
            closures = Closures()
            await closures.catch_up(log)
            letters = read_letters(log, closures, lambda entry: say_unreadable(DEAD_LETTERS, entry))
            return [_row(one) async for one in letters if (all_states or not one.closed) and selection.fits(one)]

    rows = run(work, as_json=as_json)
    document = [dict(zip(_COLUMNS, row, strict=True)) for row in rows]
    emit(document, table([name.upper() for name in _COLUMNS], rows) if rows else "None.", as_json=as_json)


_COLUMNS = ("position", "reason", "platform", "type", "event_id", "received_at", "broadcaster_id", "state")


def _row(letter: Letter) -> tuple[object, ...]:
    head = letter.head
    of_it = (head.reason, head.platform, head.type, head.event_id, head.received_at.isoformat(), head.broadcaster_id)
    return (letter.position, *of_it, letter.state)


@dead_letters.command("show")
@click.argument("position", type=click.IntRange(0, MAX_POSITION))
@json_option
def show(position: int, as_json: bool) -> None:
    """One dead letter whole: headers and body as they came. Exit 1 when there is none at POSITION.

    \b
    Example:
      streamkit dead-letters show 3
    """

    async def work(settings: Settings) -> tuple[DeadLetter, Closed | None]:
        async with opened_log(settings, create=False) as log:
            batch = await log.read(DEAD_LETTERS, 0, position, limit=1)
            if batch.positions[:1] != [position]:
                raise Failure(f"There is no dead letter at {position}; `streamkit dead-letters list` shows them.")
            closures = Closures()
            await closures.catch_up(log)
            try:
                letter = await whole_letter(log, batch.values[0])
            except UNREADABLE:
                raise Failure(f"The record at {position} is no dead letter that this build can read.") from None
            return letter, closures.of(letter)

    document = _document(position, *run(work, as_json=as_json))
    emit(document, _shown(document), as_json=as_json)


def _shown(document: dict[str, Any]) -> str:
    """For a person: what there is, aligned; headers and body indented, a body that is JSON with a line a field."""
    facts = {name: value for name, value in document.items() if name not in ("headers", "body") and value is not None}
    width = max(map(len, facts))
    lines = [f"{name.replace('_', ' '):{width}}  {value}" for name, value in facts.items()]
    body = document["body"]
    with suppress(*UNREADABLE):
        body = msgspec.json.format(body, indent=2)
    lines += ["", "headers", *(f"  {name}: {value}" for name, value in document["headers"].items())]
    lines += ["", "body", *(f"  {line}" for line in body.splitlines())]
    return "\n".join(map(on_one_line, lines))


def _document(position: int, letter: DeadLetter, closed: Closed | None) -> dict[str, Any]:
    """`body` as text, or `body_base64` besides where it is no UTF-8."""
    document: dict[str, Any] = {
        "position": position,
        "reason": letter.reason,
        "detail": letter.detail,
        "platform": letter.platform,
        "type": letter.type,
        "event_id": letter.event_id,
        "user_id": letter.user_id,
        "broadcaster_id": letter.broadcaster_id,
        "received_at": letter.received_at.isoformat(),
        "events_partition": letter.partition,
        "events_position": letter.position,
        "state": "open" if closed is None else closed.state,
        "closed_at": None if closed is None else closed.at.isoformat(),
        "closed_by": None if closed is None else closed.by,
        "closed_why": None if closed is None else closed.why,
        "headers": letter.headers,
        "body": letter.body.decode(errors="replace"),
    }
    try:
        letter.body.decode()
    except UnicodeDecodeError:
        document["body_base64"] = base64.b64encode(letter.body).decode()
    return document


@dead_letters.command("drop")
@letter_choice
@who_options
@json_option
def drop(selection: Selection, maximum: int | None, dry_run: bool, who: Who, as_json: bool) -> None:
    """Give letters up: they are never to be events. Their records stay, until they are the oldest of a full topic.

    \b
    Exit 1 when there is no open letter at --position.
    Example:
      streamkit dead-letters drop --reason malformed --since 2026-11-24 --why "a test of Kick's"
    """

    async def work(settings: Settings) -> Closer:
        async with opened_log(settings, create=False) as log:
            closures = Closures()
            closer = Closer(log, closures, who, dry_run=dry_run)
            async for letter in open_letters(log, closures, selection):
                await closer.drop(letter.head)
                if closer.taken == maximum:
                    break
            await closer.flush()
            return closer

    closer = run(work, as_json=as_json)
    document = {"dry_run": dry_run, "dropped": closer.dropped, "meanwhile": closer.meanwhile}
    told = "A dry run: " if dry_run else ""
    also = f" {closer.meanwhile} closed by another command meanwhile." if closer.meanwhile else ""
    emit(document, f"{told}{closer.dropped} {'would be ' if dry_run else ''}dropped.{also}", as_json=as_json)
