"""A verified delivery's way onto the log: known already, an event, ignored, or parked. Transport does not matter here.

What may not live here: HTTP, and anything that a platform calls by its own name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Literal

from msgspec import Struct

from ingest.codecs.delivery import BroadcasterOf, Challenge, Delivery, Ignored, Outcome, Parked
from ingest.parking import DeadLetterBox
from schemas.dead_letter import DeadLetter
from schemas.errors import LogClosed, LogUnavailable
from schemas.event import Event, encode_event
from schemas.kinds import KINDS
from streamkit import telemetry
from streamkit.directory import Directory
from streamkit.log.protocol import EVENTS, EventLog, Record
from streamkit.redis import SoftState

Decode = Callable[[Delivery, BroadcasterOf], Outcome]

_APPENDED = {kind: telemetry.EVENTS_APPENDED.labels(kind) for kind in KINDS}
_COUNTED = {
    (platform, outcome): telemetry.DELIVERIES.labels(platform, outcome)
    for platform in ("kick", "twitch", "streamkit")
    for outcome in ("event", "ignored", "parked", "dropped", "duplicate", "challenge")
}


class Taken(Struct, frozen=True, gc=False):
    """What became of a delivery. `position` is "p:n" when its event is on the log, `challenge` what to echo."""

    position: str | None = None
    challenge: str | None = None


_NOT_KEPT = Taken()


def record_of(event: Event) -> Record:
    """What the log is given of an event."""
    headers = (("platform", event.platform), ("type", event.type), ("event_id", event.event_id))
    return Record(str(event.user_id), encode_event(event), headers)


class Intake:
    """Takes verified deliveries in. `log_away` is True from a failed append until the next that succeeds."""

    def __init__(self, log: EventLog, directory: Directory, soft: SoftState, letters: DeadLetterBox) -> None:
        self._log = log
        self._directory = directory
        self._soft = soft
        self._letters = letters
        self.log_away = False

    async def take(
        self, platform: Literal["kick", "twitch"], event_id: str, delivery: Delivery, decode: Decode
    ) -> Taken:
        """Returns when the outcome is durable: only then may the platform be told that we have it.

        Raises LogUnavailable, LogClosed: nothing may be told. Cancellation abandons the wait, not the append.
        """
        known = await self._soft.known(event_id)
        if known is not None:
            _COUNTED[platform, "duplicate"].inc()
            return Taken(position=known)
        outcome = decode(delivery, self._directory.broadcaster_of)
        if isinstance(outcome, Parked) and outcome.broadcaster_id is not None:
            # Registered a moment ago, perhaps: look once at the end of the control topic before it counts as unknown.
            await self._directory.refresh()
            outcome = decode(delivery, self._directory.broadcaster_of)
        if isinstance(outcome, Event):
            (position,) = await self._append((outcome,))
            _COUNTED[platform, "event"].inc()
            return Taken(position=position)
        if isinstance(outcome, Challenge):
            _COUNTED[platform, "challenge"].inc()
            return Taken(challenge=outcome.text)
        if isinstance(outcome, Ignored):
            _COUNTED[platform, "ignored"].inc()
        else:
            await self._park(platform, event_id, delivery, outcome)
        return _NOT_KEPT

    async def take_own(self, events: Sequence[Event]) -> str:
        """Append the first-party events of one broadcaster, at least one, in one append; known ones are passed over.

        Of several under one id the first stands. Returns when the log has all of them: the position right after the
        last one appended, and when all were known that of the latest. Raises LogUnavailable (some may have been
        appended; the same events may be sent again), LogClosed. Cancellation abandons the wait, not the append.
        """
        known = await asyncio.gather(*(self._soft.known(event.event_id) for event in events))
        fresh: dict[str, Event] = {}
        for event, position in zip(events, known, strict=True):
            if position is None:
                fresh.setdefault(event.event_id, event)
        positions = await self._append(list(fresh.values())) if fresh else [each for each in known if each is not None]
        _COUNTED["streamkit", "event"].inc(len(fresh))
        _COUNTED["streamkit", "duplicate"].inc(len(events) - len(fresh))
        return max(positions, key=lambda position: int(position.partition(":")[2]))

    async def _append(self, events: Sequence[Event]) -> list[str]:
        try:
            appended = await self._log.append(EVENTS, [record_of(event) for event in events])
        except (LogUnavailable, LogClosed):
            self.log_away = True
            raise
        self.log_away = False
        positions = [f"{place.partition}:{place.position}" for place in appended]
        for event, position in zip(events, positions, strict=True):
            self._soft.remember(event.event_id, position)
            _APPENDED[event.type].inc()
        return positions

    async def _park(
        self, platform: Literal["kick", "twitch"], event_id: str, delivery: Delivery, parked: Parked
    ) -> None:
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
        result = await self._letters.park(letter)
        outcome = "duplicate" if result == "already_parked" else result
        _COUNTED[platform, outcome].inc()
