"""The dead letters as commands see them: each once, open or closed, and which of them a command is about."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Any, Literal, get_args

import click
from msgspec import Struct
from msgspec.structs import replace

from schemas.control import DeadLettersDropped, DeadLettersRedriven, decode_control
from schemas.dead_letter import DeadLetter, LetterHead, decode_dead_letter, decode_head, letter_key
from schemas.errors import UNREADABLE, ParkReason
from schemas.event import Platform
from streamkit.cli.common import Failure
from streamkit.cli.records import Entry, read_to_end, say_unreadable
from streamkit.log.protocol import CONTROL, DEAD_LETTERS, EVENTS, EventLog


class Closed(Struct, frozen=True):
    """What became of a letter; `position` is that of the control event that says so."""

    state: Literal["redriven", "dropped"]
    at: datetime
    by: str
    why: str | None
    position: int


class Closures:
    """Which letters are closed: the control topic, folded. Of records about one letter the first stands."""

    def __init__(self) -> None:
        self._closed: dict[str, Closed] = {}
        self._position = 0

    def of(self, head: LetterHead) -> Closed | None:
        """None: the letter is open."""
        return self._closed.get(letter_key(head))

    async def catch_up(self, log: EventLog) -> None:
        """Read the topic to its present end. Raises LogUnavailable."""
        async for entry in read_to_end(log, CONTROL, 0, self._position):
            self._apply(entry)
            self._position = entry.position + 1

    def _apply(self, entry: Entry) -> None:
        try:
            event = decode_control(entry.value)
        except UNREADABLE:
            return
        if isinstance(event, DeadLettersRedriven | DeadLettersDropped):
            state: Literal["redriven", "dropped"] = "redriven" if isinstance(event, DeadLettersRedriven) else "dropped"
            closed = Closed(state, event.at, event.by, event.why, entry.position)
            for key in event.letters:
                self._closed.setdefault(key, closed)


class Letter(Struct, frozen=True):
    """A dead letter where it lies; `value` is the record. `closed` None: it is open."""

    position: int
    head: LetterHead
    value: bytes
    closed: Closed | None

    @property
    def state(self) -> str:
        """`open`, `redriven` or `dropped`."""
        return "open" if self.closed is None else self.closed.state


async def read_letters(log: EventLog, closures: Closures, unreadable: Callable[[Entry], None]) -> AsyncIterator[Letter]:
    """Every letter there is now, once, oldest first: of several copies the first. `unreadable` is told of records that
    are none. Raises LogUnavailable."""
    seen: set[str] = set()
    async for entry in read_to_end(log, DEAD_LETTERS, 0):
        try:
            head = decode_head(entry.value)
        except UNREADABLE:
            unreadable(entry)
            continue
        key = letter_key(head)
        if key not in seen:
            seen.add(key)
            yield Letter(entry.position, head, entry.value, closures.of(head))


async def whole_letter(log: EventLog, value: bytes) -> DeadLetter:
    """The letter of a record, with its body also where that lies in the events log because it was too long.

    Raises one of UNREADABLE, LogUnavailable.
    """
    letter = decode_dead_letter(value)
    if letter.body or letter.partition is None or letter.position is None:
        return letter
    if letter.partition >= log.partitions(EVENTS):  # a letter that was imported from a log of more partitions
        return letter
    batch = await log.read(EVENTS, letter.partition, letter.position, limit=1)
    return replace(letter, body=batch.values[0]) if batch.positions[:1] == [letter.position] else letter


class Selection(Struct, frozen=True):
    """Which letters a command is about: those that fit all that is given. `since` is a time of receipt."""

    reason: ParkReason | None = None
    platform: str | None = None
    type: str | None = None
    since: datetime | None = None
    position: int | None = None

    def fits(self, letter: Letter) -> bool:
        """Whether the command is about `letter`."""
        head = letter.head
        return (
            self.reason in (None, head.reason)
            and self.platform in (None, head.platform)
            and self.type in (None, head.type)
            and self.position in (None, letter.position)
            and (self.since is None or _aware(head.received_at) >= self.since)
        )


async def open_letters(log: EventLog, closures: Closures, selection: Selection) -> AsyncIterator[Letter]:
    """The open letters that the command is about, oldest first; `closures` is caught up before.

    Raises LogUnavailable; Failure when `selection` names a position and no open letter that fits lies there.
    """
    await closures.catch_up(log)
    found, why_not = False, "there is none"
    async for letter in read_letters(log, closures, lambda entry: say_unreadable(DEAD_LETTERS, entry)):
        if not selection.fits(letter):
            continue
        if letter.closed is None:
            found = True
            yield letter
        else:
            why_not = f"it was {letter.state} by {letter.closed.by} at {letter.closed.at.isoformat()}"
    if selection.position is not None and not found:
        raise Failure(
            f"No open dead letter fits at position {selection.position}: {why_not}; "
            "`streamkit dead-letters list` shows the open ones."
        )


def letter_filters(command: Callable[..., None]) -> Callable[..., None]:
    """`--reason`, `--platform`, `--type` and `--since`, as the one argument `selection`."""

    @click.option("--reason", type=click.Choice(get_args(ParkReason)), help="Parked for this reason.")
    @click.option("--platform", type=click.Choice(get_args(Platform)), help="From this platform.")
    @click.option("--type", "kind", metavar="TYPE", help="Of this type, as the letter names it.")
    @click.option("--since", type=_Time(), metavar="TIME", help="Received at or after this time.")
    @wraps(command)
    def filtered(
        *, reason: ParkReason | None, platform: str | None, kind: str | None, since: datetime | None, **rest: Any
    ) -> None:
        command(selection=Selection(reason, platform, kind, since), **rest)

    return filtered


def letter_choice(command: Callable[..., None]) -> Callable[..., None]:
    """The filters, `--position` and `--all` as the one argument `selection`, at least one of which has to be there;
    `--max` as `maximum`, and `--dry-run`."""

    @letter_filters
    @click.option("--position", type=click.IntRange(0), help="The one at this position.")
    @click.option("--all", "everything", is_flag=True, help="All that are open (and fit the options beside it).")
    @click.option("--max", "maximum", type=click.IntRange(1), help="Close this many at most, the oldest first.")
    @click.option("--dry-run", is_flag=True, help="Tell what would be done, and do nothing.")
    @wraps(command)
    def chosen(*, selection: Selection, position: int | None, everything: bool, **rest: Any) -> None:
        selection = replace(selection, position=position)
        if selection == Selection() and not everything:
            raise click.UsageError("Say which: --position, --reason, --platform, --type, --since, or --all.")
        command(selection=selection, **rest)

    return chosen


class _Time(click.ParamType[datetime]):
    """A date or a time; UTC where it does not say."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            return _aware(datetime.fromisoformat(str(value)))
        except ValueError:
            self.fail(f"{value!r} is no time; write it like 2026-11-24T08:00:00Z.", param, ctx)


def _aware(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)
