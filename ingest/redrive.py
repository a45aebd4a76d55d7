"""A parked delivery looked at anew: the codec runs over the verbatim body, with the headers and the time it came with.

Its signature was checked when it was parked, and may be by a key that has been replaced since. What may not live here:
any I/O.
"""

from __future__ import annotations

from ingest.codecs import kick, twitch
from ingest.codecs.delivery import BroadcasterOf, Delivery, Parked
from schemas.dead_letter import DeadLetter
from schemas.event import Event
from streamkit.log.events import record_of
from streamkit.redrive import Anew, StillDead

_CODECS = {"kick": (kick.REQUIRED, kick.decode), "twitch": (twitch.REQUIRED, twitch.decode)}


def look_anew(letter: DeadLetter, broadcaster_of: BroadcasterOf) -> Anew:
    """The record of its event, under the id and the times it always had; None where it counts nothing: it is of a kind
    that is ignored, or a challenge, which nobody waits for any more. Never raises."""
    required, decode = _CODECS.get(letter.platform or "", ((), None))
    if decode is None or not all(letter.headers.get(name) for name in required):
        return StillDead("malformed", "the letter lacks a header or is of a platform that this build does not know")
    outcome = decode(Delivery(letter.headers, letter.body, letter.received_at), broadcaster_of)
    if isinstance(outcome, Parked):
        return StillDead(outcome.reason, outcome.detail, outcome.broadcaster_id)
    return record_of(outcome) if isinstance(outcome, Event) else None
