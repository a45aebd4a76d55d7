"""Which generations of read models there are, and which one is live: the control topic, folded.

Commands and the projector read the same records, so they agree. What may not live here: files.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

from schemas.control import (
    ControlEvent,
    GenerationDropped,
    GenerationPromoted,
    GenerationStarted,
    decode_control,
)
from schemas.errors import UNREADABLE
from streamkit.log.events import control_record
from streamkit.log.protocol import CONTROL, EventLog

FIRST = 1
"""The generation that is there without any record."""

_LIMIT = 5_000


class Generation(Struct, frozen=True):
    """One that was started. `versions` by read model; None of generation 1, whose files alone know. `by` who asked."""

    id: int
    versions: dict[str, int] | None = None
    started_at: datetime | None = None
    by: str | None = None


class Generations:
    """The generations that a log tells of."""

    def __init__(self) -> None:
        self.live = FIRST
        self.position = 0
        """Of the control topic, up to which `catch_up` has read."""
        self._all: dict[int, Generation] = {FIRST: Generation(FIRST)}
        self._dropped: set[int] = set()
        self._promoted: list[int] = []

    def apply(self, event: ControlEvent) -> bool:
        """Fold one record; whether it took effect."""
        match event:
            case GenerationStarted():
                return self._start(event)
            case GenerationPromoted():
                return self._promote(event.generation)
            case GenerationDropped():
                return self._drop(event.generation)
            case _:
                return False

    def _start(self, event: GenerationStarted) -> bool:
        if event.generation in self._all or event.generation < FIRST:
            return False
        self._all[event.generation] = Generation(event.generation, event.versions, event.at, event.by)
        return True

    def _promote(self, generation: int) -> bool:
        if generation not in self._all or generation in self._dropped or generation == self.live:
            return False
        self._promoted.append(self.live)
        self.live = generation
        return True

    def _drop(self, generation: int) -> bool:
        if generation not in self._all or generation in self._dropped or generation == self.live:
            return False
        self._dropped.add(generation)
        return True

    def find(self, generation: int) -> Generation | None:
        """None: it was never started, or it was dropped."""
        return None if generation in self._dropped else self._all.get(generation)

    @property
    def standing(self) -> list[Generation]:
        """Those that were not dropped, by number."""
        return [self._all[number] for number in sorted(self._all.keys() - self._dropped)]

    @property
    def dropped(self) -> frozenset[int]:
        """Those whose files are to be deleted."""
        return frozenset(self._dropped)

    @property
    def next_id(self) -> int:
        """A number that no generation has had."""
        return max(self._all) + 1

    @property
    def before(self) -> int | None:
        """The one that was live before and still stands: what a rollback goes to."""
        return next((number for number in reversed(self._promoted) if self._stands_beside(number)), None)

    def was_promoted(self, generation: int) -> bool:
        """Whether it is or was the live one."""
        return generation == self.live or generation in self._promoted

    def was_live(self, versions: Mapping[str, int]) -> bool:
        """Whether one of these versions was promoted at any time."""
        return any(one.versions == versions for one in self._all.values() if self.was_promoted(one.id))

    def beyond(self, kept: int) -> list[int]:
        """What may go once the live one has been promoted: of those that were live all but the last `kept`, the live one
        counted, and what was started before it and never was live."""
        stay: dict[int, None] = {self.live: None}
        for number in reversed(self._promoted):
            if len(stay) < kept and self._stands_beside(number):
                stay[number] = None
        once = set(self._promoted)
        return [one.id for one in self.standing if one.id not in stay and (one.id in once or one.id < self.live)]

    def _stands_beside(self, number: int) -> bool:
        return number != self.live and number not in self._dropped

    async def catch_up(self, log: EventLog) -> None:
        """Read the control topic to its present end. Raises LogUnavailable."""
        (end,) = await log.ends(CONTROL)
        while self.position < end:
            batch = await log.read(CONTROL, 0, self.position, limit=_LIMIT, wait_s=1.0)
            for value in batch.values:
                self._apply(value)
            if batch.next_position == self.position:
                return  # what lies between here and the end is no record
            self.position = batch.next_position

    def _apply(self, value: bytes) -> None:
        try:
            event = decode_control(value)
        except UNREADABLE:
            return  # of a newer build, or damaged: the directory tells of it
        self.apply(event)


async def tell(log: EventLog, generations: Generations, *events: ControlEvent) -> None:
    """Append the events, and read `generations` to behind them: what it says then is what stands. Raises LogUnavailable:
    they may have been appended."""
    await log.append(CONTROL, [control_record(event) for event in events])
    await generations.catch_up(log)
