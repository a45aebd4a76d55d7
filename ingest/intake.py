"""A verified delivery's way onto the log: known already, an event, ignored, or parked. Transport does not matter here.

What may not live here: HTTP, and anything that a platform calls by its own name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Literal

from msgspec import Struct

from ingest.codecs.delivery import BroadcasterOf, Challenge, Delivery, Ignored, Outcome, Parked
from ingest.parking import DeadLetterBox, Parking
from ingest.spool import Spool, unjudged
from schemas.dead_letter import DeadLetter
from schemas.errors import LogClosed, LogUnavailable
from schemas.event import Event, EventHead
from schemas.kinds import KINDS
from streamkit import telemetry
from streamkit.directory import Directory
from streamkit.log.events import record_of
from streamkit.log.protocol import EVENTS, Appended, EventLog, Record
from streamkit.redis import SoftState

Decode = Callable[[Delivery, BroadcasterOf], Outcome]

_APPENDED = {kind: telemetry.EVENTS_APPENDED.labels(kind) for kind in KINDS}
_COUNTED = {
    (platform, outcome): telemetry.DELIVERIES.labels(platform, outcome)
    for platform in ("kick", "twitch", "streamkit")
    for outcome in ("event", "ignored", "parked", "dropped", "duplicate", "challenge", "spooled")
}


class Taken(Struct, frozen=True, gc=False):
    """What became of a delivery. `position` is "p:n" when its event is on the log, `challenge` what to echo."""

    position: str | None = None
    challenge: str | None = None


_NOT_KEPT = Taken()


class Intake:
    """Takes verified deliveries in. What the log does not take in time goes into `spool`, and while that holds anything
    whatever comes joins it; None: there is none, and what the log does not take is refused.

    `refusing` is True from a delivery that neither took until the next that one of them does.
    """

    def __init__(
        self, log: EventLog, directory: Directory, soft: SoftState, letters: DeadLetterBox, spool: Spool | None = None
    ) -> None:
        self._log = log
        self._directory = directory
        self._soft = soft
        self._letters = letters
        self._spool = spool
        self.refusing = False

    async def take(
        self, platform: Literal["kick", "twitch"], event_id: str, delivery: Delivery, decode: Decode
    ) -> Taken:
        """Returns when the outcome is durable: only then may the platform be told that we have it.

        Raises LogUnavailable (the log and the spool do not take it), LogClosed: nothing may be told. Cancellation
        abandons the wait, not the append.
        """
        known = await self._soft.known(event_id)
        if known is not None:
            _COUNTED[platform, "duplicate"].inc()
            return Taken(position=known)
        outcome = decode(delivery, self._directory.broadcaster_of)
        log_tells = self._spool is None or not self._spool.events
        if isinstance(outcome, Parked) and outcome.broadcaster_id is not None and log_tells:
            # Registered a moment ago, perhaps: look once at the end of the control topic before it counts as unknown.
            log_tells = await self._directory.refresh()
            outcome = decode(delivery, self._directory.broadcaster_of)
        if isinstance(outcome, Event):
            positions = await self._append((outcome,))
            _COUNTED[platform, "event" if positions else "spooled"].inc()
            return Taken(position=positions[0]) if positions else _NOT_KEPT
        if isinstance(outcome, Challenge):
            _COUNTED[platform, "challenge"].inc()
            return Taken(challenge=outcome.text)
        if isinstance(outcome, Ignored):
            _COUNTED[platform, "ignored"].inc()
        else:
            await self._park(platform, event_id, delivery, outcome, log_tells=log_tells)
        return _NOT_KEPT

    async def take_own(self, events: Sequence[Event]) -> str | None:
        """Append the first-party events of one broadcaster, at least one, in one append; known ones are passed over.

        Of several under one id the first stands. Returns when the log has all of them: the position right after the
        last one appended, and when all were known that of the latest; None when the spool has them. Raises
        LogUnavailable (some may have been appended; the same events may be sent again), LogClosed. Cancellation abandons the wait, not the append.
        """
        known = await asyncio.gather(*(self._soft.known(event.event_id) for event in events))
        fresh: dict[str, Event] = {}
        for event, position in zip(events, known, strict=True):
            if position is None:
                fresh.setdefault(event.event_id, event)
        positions = await self._append(list(fresh.values())) if fresh else [each for each in known if each is not None]
        _COUNTED["streamkit", "event" if positions else "spooled"].inc(len(fresh))
        _COUNTED["streamkit", "duplicate"].inc(len(events) - len(fresh))
        return max(positions, key=lambda position: int(position.partition(":")[2]), default=None)

    def drained(self, event: EventHead, place: Appended) -> None:
        """An event has come from the spool onto the log."""
        self._soft.remember(event.event_id, f"{place.partition}:{place.position}")
        if event.type in _APPENDED:
            _APPENDED[event.type].inc()

    async def _append(self, events: Sequence[Event]) -> list[str]:
        """Their positions; none when they are in the spool."""
        records = [record_of(event) for event in events]
        if self._spool is not None and self._spool.events:
            await self._put(self._spool, records)
            return []
        try:
            appended = await self._log.append(EVENTS, records)
        except (LogUnavailable, LogClosed) as error:
            if self._spool is not None and isinstance(error, LogUnavailable):
                await self._put(self._spool, records)
                return []
            self.refusing = True
            raise
        self.refusing = False
        positions = [f"{place.partition}:{place.position}" for place in appended]
        for event, position in zip(events, positions, strict=True):
            self._soft.remember(event.event_id, position)
            _APPENDED[event.type].inc()
        return positions

    async def _put(self, spool: Spool, records: Sequence[Record]) -> None:
        self.refusing = True
        await spool.put(records)
        self.refusing = False

    async def _park(
        self,
        platform: Literal["kick", "twitch"],
        event_id: str,
        delivery: Delivery,
        parked: Parked,
        *,
        log_tells: bool,
    ) -> None:
        """Into the dead letters, or while the log does not tell what it holds into the spool, to be judged later."""
        letter = DeadLetter(
            reason=parked.reason,
            platform=platform,
            type=parked.type,
            event_id=event_id,
            user_id=None,
            received_at=delivery.received_at,
            detail=parked.detail,
            headers=dict(delivery.headers),
            body=delivery.body,
            broadcaster_id=parked.broadcaster_id,
        )
        outcome = await self._outcome_of(letter, log_tells=log_tells)
        _COUNTED[platform, "duplicate" if outcome == "already_parked" else outcome].inc()

    async def _outcome_of(self, letter: DeadLetter, *, log_tells: bool) -> Parking | Literal["spooled"]:
        if self._spool is None:
            return await self._letters.park(letter)
        if log_tells:
            with suppress(LogUnavailable):
                return await self._letters.park(letter)
        await self._put(self._spool, [unjudged(letter)])
        return "spooled"
