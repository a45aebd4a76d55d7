"""Single values as the platforms spell them: times, ids, amounts. Each parser raises Unfit, which parks as malformed."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from msgspec import Meta

from schemas.bounds import MAX_MONTHS, MAX_QUANTITY

Id = int | str
"""A platform's id in a body: Kick's int64 or Twitch's numeric string; `id_text` makes a string of it."""

Amount = Annotated[int, Meta(ge=1, le=MAX_QUANTITY)]
"""Kicks, bits: at least one."""

Months = Annotated[int, Meta(ge=0, le=MAX_MONTHS)]
"""How long a subscription was bought for or lasts."""

Price = Annotated[int, Meta(ge=0, le=2**53 - 1)]
"""Channel points; a reward may be free."""

Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
"""Viewers, offsets, subscriptions."""

BODY_TIME_AHEAD = timedelta(minutes=5)
"""A body time further than this after the header's is replaced by the header's."""

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
_MAX_ID = 2**63 - 1
_MAX_ID_DIGITS = 20
_CROCKFORD = {character: value for value, character in enumerate("0123456789ABCDEFGHJKMNPQRSTVWXYZ")}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Unfit(ValueError):
    """A value that does not fit its type; the text names the rule and never the value."""


UNFIT = (msgspec.MsgspecError, UnicodeError, RecursionError, Unfit)
"""All that decoding a body may raise: not JSON, not UTF-8, nested too deep, of the wrong type, out of bounds."""


def why_unfit(error: Exception) -> str:
    """A sentence for the dead letter's `detail`; never holds payload text."""
    if isinstance(error, msgspec.MsgspecError | Unfit):
        return str(error)
    if isinstance(error, RecursionError):
        return "the body is nested too deep"
    return "the body is not UTF-8"


def instant(text: str) -> datetime:
    """An RFC 3339 time with any fraction and offset as UTC, the fraction cut to microseconds. Raises Unfit."""
    if _RFC3339.fullmatch(text) is None:
        raise Unfit("a time is not RFC 3339")
    if text[17:19] == "60":  # a leap second is the last one that datetime has
        text = text[:17] + "59" + text[19:]
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Unfit("a time does not exist") from None


def instant_or_none(text: str | None) -> datetime | None:
    """As `instant`; None for null and for Go's zero time, year 1, which Kick sends where there is no time."""
    if text is None:
        return None
    if text.startswith("0001-01-01") and _RFC3339.fullmatch(text):
        return None
    return instant(text)


def not_ahead(body_at: datetime | None, sent_at: datetime) -> datetime:
    """The body's time, or the header's where there is none or it lies more than 5 minutes after the header's."""
    if body_at is None or body_at - sent_at > BODY_TIME_AHEAD:
        return sent_at
    return body_at


def id_text(value: Id) -> str:
    """An id as text. Raises Unfit for what is no decimal number of a platform's size."""
    if isinstance(value, int):
        if 0 <= value <= _MAX_ID:
            return str(value)
    elif value.isascii() and value.isdigit() and len(value) <= _MAX_ID_DIGITS:
        return value
    raise Unfit("an id is not a number")


def ulid_at(text: str) -> datetime | None:
    """The time in a ULID's first 48 bits (https://github.com/ulid/spec); None when `text` is no ULID."""
    if len(text) != 26 or text[0] > "7":
        return None
    number = 0
    for character in text.upper():
        value = _CROCKFORD.get(character)
        if value is None:
            return None
        number = number << 5 | value
    try:
        return _EPOCH + timedelta(milliseconds=number >> 80)
    except OverflowError:
        return None
