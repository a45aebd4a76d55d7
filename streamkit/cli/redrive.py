"""`streamkit dead-letters redrive`: look at dead letters anew, and put onto the log what has become an event.

It needs the log alone; running rooms learn of the events from the log. What the letters are now is told by the rooms'
own code, which `streamkit/__main__.py` hands in.
"""

from __future__ import annotations

from typing import Literal

import click
import msgspec
from msgspec import Struct

from schemas.errors import UNREADABLE, ParkReason, RecordTooLarge
from streamkit.cli.closing import Closer
from streamkit.cli.common import EXIT_NOT_DONE, emit, fail, json_option, opened_log, run, table
from streamkit.cli.letters import Closures, Letter, Selection, letter_choice, open_letters, whole_letter
from streamkit.cli.who import Who, who_options
from streamkit.directory import Directory
from streamkit.log.protocol import EventLog, Record, check_records
from streamkit.redrive import Anew, LookAnew, StillDead
from streamkit.settings import Settings

OnError = Literal["put-back", "stop", "drop"]
_LEFT_TOLD = 100


class Left(Struct, frozen=True):
    """A letter that is no event still: why, as of now."""

    position: int
    event_id: str
    reason: ParkReason
    detail: str


class Report(Struct, kw_only=True):
    """What a redrive did, or would do. `ignored` of the redriven count nothing. `left` has the first hundred of those
    that were put back or dropped, and the one it stopped at. `events_end` goes into Streamkit-Min-Position."""

    dry_run: bool
    redriven: int = 0
    ignored: int = 0
    put_back: int = 0
    dropped: int = 0
    meanwhile: int = 0
    stopped_at: int | None = None
    left: list[Left] = []
    events_end: str | None = None


def redrive_command(look_anew: LookAnew) -> click.Command:
    """The command; `look_anew` tells what a letter is now."""

    @click.command("redrive")
    @letter_choice
    @click.option(
        "--on-error",
        type=click.Choice(["put-back", "stop", "drop"]),
        default="put-back",
        show_default=True,
        help="What is done with a letter that is still no event: leave it open and go on, stop there, or drop it.",
    )
    @who_options
    @json_option
    def redrive(
        selection: Selection,
        maximum: int | None,
        dry_run: bool,
        on_error: OnError,
        who: Who,
        as_json: bool,
    ) -> None:
        """Put onto the log what has become an event: after `accounts add`, or after an upgrade.

        \b
        Each letter is decoded anew from its verbatim body, under the id and the times it always had, so that it
        counts once, also when redriven twice. Exit 1 when it stopped, or when there is no open letter at --position.
        Examples:
          streamkit dead-letters redrive --reason unknown_broadcaster --why "registered late"
          streamkit dead-letters redrive --all --dry-run
        """

        async def work(settings: Settings) -> Report:
            async with opened_log(settings, create=False) as log:
                directory = Directory()
                await directory.catch_up(log)
                redrive = _Redrive(log, look_anew, directory, on_error, who, dry_run=dry_run)
                return await redrive.run(selection, maximum)

        report = run(work, as_json=as_json)
        emit(msgspec.to_builtins(report), _text(report), as_json=as_json)
        if report.stopped_at is not None:
            fail(
                f"Stopped at the dead letter {report.stopped_at}, which is still no event.",
                EXIT_NOT_DONE,
                as_json=False,
            )

    return redrive


class _Redrive:
    def __init__(
        self, log: EventLog, look_anew: LookAnew, directory: Directory, on_error: OnError, who: Who, *, dry_run: bool
    ) -> None:
        self._log = log
        self._look_anew = look_anew
        self._directory = directory
        self._on_error = on_error
        self._closures = Closures()
        self._closer = Closer(log, self._closures, who, dry_run=dry_run)
        self._report = Report(dry_run=dry_run)

    async def run(self, selection: Selection, maximum: int | None) -> Report:
        """Raises Failure, LogUnavailable."""
        report, closer = self._report, self._closer
        async for letter in open_letters(self._log, self._closures, selection):
            if closer.taken == maximum:
                break
            await self._one(letter)
            if report.stopped_at is not None:
                break
        await closer.flush()
        report.redriven, report.dropped, report.meanwhile = closer.redriven, closer.dropped, closer.meanwhile
        report.events_end = ",".join(f"{p}:{end}" for p, end in sorted(closer.ends.items())) or None
        return report

    async def _one(self, letter: Letter) -> None:
        anew = await self._anew(letter)
        if not isinstance(anew, StillDead):
            self._report.ignored += anew is None
            await self._closer.redrive(letter.head, anew)
            return
        if len(self._report.left) < _LEFT_TOLD:
            self._report.left.append(Left(letter.position, letter.head.event_id, anew.reason, anew.detail))
        if self._on_error == "drop":
            await self._closer.drop(letter.head)
        elif self._on_error == "put-back":
            self._report.put_back += 1
        else:
            self._report.stopped_at = letter.position

    async def _anew(self, letter: Letter) -> Anew:
        try:
            anew = self._look_anew(await whole_letter(self._log, letter.value), self._directory.broadcaster_of)
            if isinstance(anew, Record):
                check_records([anew])
        except UNREADABLE:
            return StillDead(letter.head.reason, "this build cannot read the letter")
        except RecordTooLarge as error:
            return StillDead(letter.head.reason, str(error))
        return anew


def _text(report: Report) -> str:
    would = "would be " if report.dry_run else ""
    lines = [f"{report.redriven} {would}redriven."]
    if report.ignored:
        lines.append(f"{report.ignored} of them count nothing: their kind is ignored by this build.")
    if report.put_back:
        lines.append(f"{report.put_back} {would}put back: still no events.")
    if report.dropped:
        lines.append(f"{report.dropped} {would}dropped: still no events.")
    if report.meanwhile:
        lines.append(f"{report.meanwhile} closed by another command meanwhile.")
    if report.left:
        rows = [(one.position, one.reason, one.event_id, one.detail) for one in report.left]
        lines.append(table(("POSITION", "REASON NOW", "EVENT ID", "DETAIL"), rows))
    if report.dry_run:
        lines.append("A dry run: nothing was changed.")
    return "\n".join(lines)
