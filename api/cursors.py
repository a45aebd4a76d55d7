"""A place in a history, as consumers carry it from page to page: opaque to them, of one path."""

from __future__ import annotations

import base64
import binascii

import msgspec

from schemas.read_models.model import Before

_place = msgspec.json.Decoder(tuple[str, int, int | str])
_FAR_US = 1 << 56


def encode(path: str, place: Before) -> str:
    """The cursor of the page of `path` that begins after `place`."""
    return base64.urlsafe_b64encode(msgspec.json.encode((path, *place))).rstrip(b"=").decode()


def decode(path: str, text: str, *, by_position: bool) -> Before | None:
    """The place that a cursor of `path` names; None when it is none. `by_position`: ties go by log position there, else
    by event id."""
    if not text.isascii():
        return None
    try:
        of, us, tie = _place.decode(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, msgspec.MsgspecError, ValueError):
        return None
    if of != path or not -_FAR_US <= us <= _FAR_US or isinstance(tie, int) != by_position:
        return None
    if isinstance(tie, int) and not 0 <= tie < 1 << 63:
        return None
    return us, tie
