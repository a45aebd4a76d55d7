"""An event as a record of the log."""

from __future__ import annotations

from schemas.event import Event, encode_event
from streamkit.log.protocol import Record


def record_of(event: Event) -> Record:
    """What the log is given of an event."""
    headers = (("platform", event.platform), ("type", event.type), ("event_id", event.event_id))
    return Record(str(event.user_id), encode_event(event), headers)
