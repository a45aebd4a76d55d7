"""Events as records of the log: their keys, and what their headers repeat."""

from __future__ import annotations

from schemas import control
from schemas.event import Event, EventHead, encode_event
from streamkit.log.protocol import Record


def record_of(event: Event) -> Record:
    """What the log is given of an event."""
    return Record(str(event.user_id), encode_event(event), headers_of(event))


def headers_of(event: Event | EventHead) -> tuple[tuple[str, str], ...]:
    """What can be told of an event without decoding it."""
    return ("platform", event.platform), ("type", event.type), ("event_id", event.event_id)


def control_record(event: control.ControlEvent) -> Record:
    """What the control topic is given of an event: its key is the entity that it is about."""
    match event:
        case control.ClientIssued() | control.ClientSecretRotated() | control.ClientRevoked():
            key = f"client:{event.client_id}"
        case control.TokenIssued() | control.TokenRevoked():
            key = f"token:{event.jti}"
        case control.ConnectSpent():
            key = f"connect:{event.id}"
        case control.LogCreated():
            key = "log"
        case control.DeadLettersRedriven() | control.DeadLettersDropped():
            key = "dead-letters"
        case control.GenerationStarted() | control.GenerationPromoted() | control.GenerationDropped():
            key = "generations"
        case control.SnapshotWanted():
            key = "snapshots"
        case _:
            key = f"user:{event.user_id}"
    return Record(key, control.encode_control(event))
