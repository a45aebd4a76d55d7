"""A dead letter: a delivery or record kept verbatim because it is no event (yet), with the reason."""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import Struct

from schemas.errors import ParkReason


class DeadLetter(Struct, frozen=True, kw_only=True):
    """`body` is verbatim (base64 in the JSON); `headers` the delivery's platform headers, lower-case names.

    `event_id` is the delivery key; of a `fold_failed` it is the record's own where readable, and `partition` and
    `position` say where in the events log it lies. `detail` says what did not fit, without payload text.
    `broadcaster_id` is the platform's id of an unknown broadcaster: only so many letters are kept for each.
    """

    reason: ParkReason
    platform: str | None
    type: str | None
    event_id: str
    user_id: int | None
    received_at: datetime
    detail: str
    headers: dict[str, str]
    body: bytes
    broadcaster_id: str | None = None
    partition: int | None = None
    position: int | None = None


_decoder = msgspec.json.Decoder(DeadLetter)


def encode_dead_letter(letter: DeadLetter) -> bytes:
    """The record's JSON."""
    return msgspec.json.encode(letter)


def decode_dead_letter(value: bytes) -> DeadLetter:
    """The typed dead letter. Raises one of UNREADABLE (schemas/errors.py)."""
    return _decoder.decode(value)
