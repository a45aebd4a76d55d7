"""A dead letter: a delivery or record kept verbatim because it is no event (yet), with the reason.

The topic is only appended to. A letter is *open* until a control event (schemas/control.py) names it as redriven or
dropped; of several records about one letter (`letter_key`) the first stands.
"""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import Struct

from schemas.errors import ParkReason


class LetterHead(Struct, frozen=True, kw_only=True):
    """All of a letter but what it is about: enough to list it, and to count it.

    `event_id` is the delivery key; of a `fold_failed` it is the record's own where readable, and `partition` and
    `position` say where in the events log it lies. `broadcaster_id` is the platform's id of an unknown broadcaster:
    only so many letters are kept for each.
    """

    reason: ParkReason
    platform: str | None
    type: str | None
    event_id: str
    user_id: int | None
    received_at: datetime
    broadcaster_id: str | None = None
    partition: int | None = None
    position: int | None = None


class DeadLetter(LetterHead, frozen=True, kw_only=True):
    """`body` is verbatim (base64 in the JSON); `headers` the delivery's platform headers, lower-case names.

    `detail` says what did not fit, without payload text.
    """

    detail: str
    headers: dict[str, str]
    body: bytes


_decoder = msgspec.json.Decoder(DeadLetter)
_head = msgspec.json.Decoder(LetterHead)


def letter_key(head: LetterHead) -> str:
    """What makes it this letter: of a delivery its id, of a `fold_failed` its place on the events log; and the reason."""
    if head.reason == "fold_failed":
        return f"fold_failed {head.partition}:{head.position}"
    return f"{head.reason} {head.event_id}"


def encode_dead_letter(letter: DeadLetter) -> bytes:
    """The record's JSON."""
    return msgspec.json.encode(letter)


def decode_dead_letter(value: bytes) -> DeadLetter:
    """The typed dead letter. Raises one of UNREADABLE (schemas/errors.py)."""
    return _decoder.decode(value)


def decode_head(value: bytes) -> LetterHead:
    """The head alone: the body is passed over. Raises as `decode_dead_letter`."""
    return _head.decode(value)
