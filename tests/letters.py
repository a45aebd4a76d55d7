"""Dead letters as ingest and the projector park them, made from the samples."""

from __future__ import annotations

from typing import Any

from ingest.codecs import kick, twitch
from projector.poison import dead_letter
from projector.staging import BadRecord
from schemas.dead_letter import DeadLetter, decode_dead_letter
from schemas.errors import ParkReason
from schemas.event import Event, encode_event
from tests.samples import MESSAGE_ID, RECEIVED_AT, SENT_AT, Sample


def parked(
    sample: Sample,
    reason: ParkReason = "unknown_broadcaster",
    *,
    message_id: str = MESSAGE_ID,
    body: bytes | None = None,
    **more: Any,
) -> DeadLetter:
    """The letter of a delivery of this sample's body (None), type and version, sent at SENT_AT."""
    if sample.platform == "kick":
        headers = {kick.MESSAGE_ID: message_id, kick.TIMESTAMP: SENT_AT, kick.TYPE: sample.type, kick.SIGNATURE: "s"}
    else:
        kind = "webhook_callback_verification" if sample.name.endswith(".verification") else "notification"
        kind = "revocation" if sample.name.endswith(".revocation") else kind
        headers = {twitch.MESSAGE_ID: message_id, twitch.TIMESTAMP: SENT_AT, twitch.MESSAGE_TYPE: kind}
        headers[twitch.SIGNATURE] = "s"
    fields: dict[str, Any] = {
        "reason": reason,
        "platform": sample.platform,
        "type": sample.type,
        "event_id": f"{sample.platform}:{message_id}",
        "user_id": None,
        "received_at": RECEIVED_AT,
        "detail": "a test",
        "headers": headers,
        "body": sample.body if body is None else body,
    }
    return DeadLetter(**fields | more)


def unfolded(event: Event | bytes, position: int = 0, partition: int = 0) -> DeadLetter:
    """The letter of an event that the projector could not fold."""
    value = event if isinstance(event, bytes) else encode_event(event)
    record = dead_letter(partition, position, value, BadRecord(position, "a test"))
    return decode_dead_letter(record.value)
