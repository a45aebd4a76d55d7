"""What a caller may say in a query or in Streamkit-Min-Position, checked and made canonical. No I/O here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct
from multidict import MultiMapping

from api import cursors
from schemas.errors import Problem
from schemas.openapi import IDEMPOTENCY_KEY_PATTERN, POSITION_PATTERN, Parameter
from schemas.read_models.model import Before

LIMIT_MAX = 100

_INTEGER = re.compile(r"0|[1-9][0-9]{0,8}")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MIN_POSITION = re.compile(rf"{POSITION_PATTERN}( *, *{POSITION_PATTERN})*")


_IDEMPOTENCY_KEY = re.compile(IDEMPOTENCY_KEY_PATTERN)


class Parameters(Struct, frozen=True):
    """The canonical parameters of a request; equal requests have equal ones. None: not given. `since_us`, `until_us`:
    epoch microseconds; `before`: after which row of the history the page begins."""

    limit: int = 0
    type: str | None = None
    platform: str | None = None
    actor: str | None = None
    username: str | None = None
    since_us: int | None = None
    until_us: int | None = None
    before: Before | None = None


def limit(default: int, description: str) -> Parameter:
    """The declaration of a `limit` of 1 to 100."""
    return Parameter("limit", "integer", description, default, 1, LIMIT_MAX)


CURSOR = Parameter(
    "cursor", "cursor", "Where the page begins: the `next` of the page before. Pages neither repeat nor skip."
)
CURSOR_BY_POSITION = msgspec.structs.replace(CURSOR, by_position=True)

_FIELDS = {"since": "since_us", "until": "until_us", "cursor": "before"}
"""Parameters that are kept under another name than the query's."""


def parse(declared: Sequence[Parameter], query: MultiMapping[str], path: str) -> Parameters:
    """The declared parameters out of a query of `path`; all others are ignored.

    Raises Problem 400 `invalid_parameter` for one that is missing, repeated, or not of its kind, range or path.
    """
    values: dict[str, Any] = {}
    for parameter in declared:
        given = query.getall(parameter.name, None)
        if given is None:
            if parameter.required:
                raise _invalid(f"Parameter {parameter.name} is missing.")
            if parameter.default is not None:
                values[parameter.name] = parameter.default
            continue
        if len(given) > 1:
            raise _invalid(f"Parameter {parameter.name} is given {len(given)} times; send it once.")
        values[_FIELDS.get(parameter.name, parameter.name)] = _value(parameter, given[0], path)
    values.pop("version", None)
    return Parameters(**values)


def _value(parameter: Parameter, text: str, path: str) -> Any:
    match parameter.kind:
        case "integer":
            return _integer(parameter, text)
        case "time":
            return _time_us(parameter, text)
        case "cursor":
            place = cursors.decode(path, text, by_position=parameter.by_position)
            if place is None:
                raise _invalid(f"Parameter {parameter.name} is not one that this path gave; take it from `next`.")
            return place
        case "string":
            return _text(parameter, text)


def _integer(parameter: Parameter, text: str) -> int:
    if _INTEGER.fullmatch(text) and parameter.minimum <= int(text) <= parameter.maximum:
        return int(text)
    raise _invalid(f"Parameter {parameter.name} must be an integer from {parameter.minimum} to {parameter.maximum}.")


def _text(parameter: Parameter, text: str) -> str:
    if parameter.choices and text not in parameter.choices:
        raise _invalid(f"Parameter {parameter.name} must be {' or '.join(parameter.choices)}.")
    if parameter.required and not text:
        raise _invalid(f"Parameter {parameter.name} is empty.")
    return text


def _time_us(parameter: Parameter, text: str) -> int:
    text = text.replace(" ", "+")  # a plus that was not escaped
    try:
        if not _TIME.fullmatch(text):
            raise ValueError
        return (datetime.fromisoformat(text.upper()) - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, OverflowError):
        raise _invalid(
            f"Parameter {parameter.name} must be an RFC 3339 time with an offset, as 2026-06-06T18:30:00+02:00."
        ) from None


def min_position(values: Sequence[str], partition: int) -> int:
    """The position asked for in `partition`, 0 when the header names only others.

    `values` are the header's lines. Raises Problem 400 `invalid_parameter` for anything but `partition:position`
    pairs, comma-separated.
    """
    text = ",".join(values)
    if not _MIN_POSITION.fullmatch(text):
        raise _invalid("Header Streamkit-Min-Position must be partition:position, comma-separated for several.")
    wanted = 0
    for pair in text.split(","):
        number, _, position = pair.partition(":")
        if int(number) == partition:
            wanted = max(wanted, int(position))
    return wanted


def idempotency_key(headers: MultiMapping[str]) -> str | None:
    """The Idempotency-Key of a request; None without one. Raises Problem 400 `invalid_parameter`."""
    values = headers.getall("Idempotency-Key", [])
    if not values:
        return None
    if len(values) > 1 or not _IDEMPOTENCY_KEY.fullmatch(values[0]):
        raise _invalid("Header Idempotency-Key must be one of 1 to 255 printable ASCII characters.")
    return values[0]


def _invalid(message: str) -> Problem:
    return Problem(400, "invalid_parameter", message)
