"""What a caller may say in a query or in Streamkit-Min-Position, checked and made canonical. No I/O here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from msgspec import Struct
from multidict import MultiMapping

from schemas.errors import Problem
from schemas.openapi import POSITION_PATTERN, Parameter

LIMIT_MAX = 100

_INTEGER = re.compile(r"0|[1-9][0-9]{0,8}")
_MIN_POSITION = re.compile(rf"{POSITION_PATTERN}( *, *{POSITION_PATTERN})*")


class Parameters(Struct, frozen=True):
    """The canonical parameters of a request; equal requests have equal ones. `type` None: every type."""

    limit: int = 0
    type: str | None = None


def limit(default: int, description: str) -> Parameter:
    """The declaration of a `limit` of 1 to 100."""
    return Parameter("limit", "integer", description, default, 1, LIMIT_MAX)


def defaults(declared: Sequence[Parameter]) -> Parameters:
    """What holds when the query is empty."""
    values: Mapping[str, int | str | None] = {parameter.name: parameter.default for parameter in declared}
    chosen_limit = values.get("limit")
    return Parameters(chosen_limit if isinstance(chosen_limit, int) else 0)


def parse(declared: Sequence[Parameter], query: MultiMapping[str]) -> Parameters:
    """The declared parameters out of a query; all others are ignored.

    Raises Problem 400 `invalid_parameter` for one that is repeated, not a canonical integer, or out of range.
    """
    values: dict[str, int | str | None] = {}
    for parameter in declared:
        given = query.getall(parameter.name, None)
        if given is None:
            values[parameter.name] = parameter.default
            continue
        if len(given) > 1:
            raise _invalid(f"Parameter {parameter.name} is given {len(given)} times; send it once.")
        values[parameter.name] = (
            _integer(parameter, given[0]) if parameter.kind == "integer" else _text(parameter, given[0])
        )
    chosen_limit, chosen_type = values.get("limit"), values.get("type")
    return Parameters(
        chosen_limit if isinstance(chosen_limit, int) else 0, chosen_type if isinstance(chosen_type, str) else None
    )


def _integer(parameter: Parameter, text: str) -> int:
    if _INTEGER.fullmatch(text) and parameter.minimum <= int(text) <= parameter.maximum:
        return int(text)
    raise _invalid(f"Parameter {parameter.name} must be an integer from {parameter.minimum} to {parameter.maximum}.")


def _text(parameter: Parameter, text: str) -> str:
    if parameter.choices and text not in parameter.choices:
        raise _invalid(f"Parameter {parameter.name} must be {' or '.join(parameter.choices)}.")
    return text


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


def _invalid(message: str) -> Problem:
    return Problem(400, "invalid_parameter", message)
