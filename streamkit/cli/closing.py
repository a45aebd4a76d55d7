"""Closing dead letters: their events onto the events log first, then the control event that says who did it and why.

Killed between the two, the letters are open still; redriven again, their events are on the log twice, and the fold drops
the second, as it does with every delivery that comes twice. So nothing is lost, and nothing counts twice.
"""

from __future__ import annotations

from schemas.control import DeadLettersDropped, DeadLettersRedriven
from schemas.dead_letter import LetterHead, letter_key
from schemas.event import utc_now
from streamkit.cli.letters import Closures
from streamkit.cli.who import Who
from streamkit.log.events import control_record
from streamkit.log.protocol import CONTROL, EVENTS, EventLog, Record

_LETTERS_AT_ONCE = 200
_BYTES_AT_ONCE = 4 << 20


class Closer:
    """Takes letters and closes them some hundreds at a time; `flush` at the end. `dry_run`: it only counts them.

    `redriven` and `dropped` are those that stand as closed by this command, `meanwhile` those that another command
    closed first; `ends` has by partition the position right after the last event appended.
    """

    def __init__(self, log: EventLog, closures: Closures, who: Who, *, dry_run: bool) -> None:
        self._log = log
        self._closures = closures
        self._who = who
        self._dry_run = dry_run
        self._records: list[Record] = []
        self._redrive: list[LetterHead] = []
        self._drop: list[LetterHead] = []
        self.redriven = 0
        self.dropped = 0
        self.meanwhile = 0
        self.ends: dict[int, int] = {}

    @property
    def taken(self) -> int:
        """How many letters it was given."""
        return self.redriven + self.dropped + self.meanwhile + len(self._redrive) + len(self._drop)

    async def redrive(self, head: LetterHead, record: Record | None) -> None:
        """Append `record` (None: nothing) and close the letter. Raises LogUnavailable, RecordTooLarge."""
        self._redrive.append(head)
        if record is not None:
            self._records.append(record)
        await self._flush_when_full()

    async def drop(self, head: LetterHead) -> None:
        """Close the letter. Raises LogUnavailable."""
        self._drop.append(head)
        await self._flush_when_full()

    async def _flush_when_full(self) -> None:
        size = sum(len(record.value) for record in self._records)
        if len(self._redrive) + len(self._drop) >= _LETTERS_AT_ONCE or size >= _BYTES_AT_ONCE:
            await self.flush()

    async def flush(self) -> None:
        """Make all that was taken durable, and see which of it stands. Raises LogUnavailable: some of the letters may
        be open still, and the same command goes on with them."""
        if self._dry_run:
            self.redriven += len(self._redrive)
            self.dropped += len(self._drop)
        elif self._redrive or self._drop:
            for place in await self._log.append(EVENTS, self._records) if self._records else ():
                self.ends[place.partition] = max(place.position, self.ends.get(place.partition, 0))
            await self._tell()
        self._records, self._redrive, self._drop = [], [], []

    async def _tell(self) -> None:
        events: list[DeadLettersRedriven | DeadLettersDropped] = []
        for kind, heads in ((DeadLettersRedriven, self._redrive), (DeadLettersDropped, self._drop)):
            if heads:
                keys = tuple(letter_key(head) for head in heads)
                events.append(kind(at=utc_now(), by=self._who.by, why=self._who.why, letters=keys))
        appended = await self._log.append(CONTROL, [control_record(event) for event in events])
        await self._closures.catch_up(self._log)
        own = {place.position - 1 for place in appended}
        redriven, dropped = self._stand(self._redrive, own), self._stand(self._drop, own)
        self.redriven += redriven
        self.dropped += dropped
        self.meanwhile += len(self._redrive) + len(self._drop) - redriven - dropped

    def _stand(self, heads: list[LetterHead], own: set[int]) -> int:
        closed = (self._closures.of(head) for head in heads)
        return sum(one is not None and one.position in own for one in closed)
