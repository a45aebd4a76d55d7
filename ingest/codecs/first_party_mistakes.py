"""Every mistake in a body of first-party events, with its path: the slow second look at a body that did not decode.

It walks the structs of schemas/first_party_sent.py as msgspec describes them, so it refuses what the decoder refuses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from msgspec import Struct, inspect

from ingest.codecs.first_party_rules import check_amount, check_time, member, settings_faults, text_fault
from ingest.codecs.values import Unfit
from schemas.first_party_kinds import Keyword
from schemas.first_party_sent import MAX_EVENTS, SENT, EventId, Sent, SentSettings

MAX_MISTAKES = 10_000
"""More are not looked for: the answer would be many times the request."""

Fault = tuple[str, str]
"""Path and message."""

_MISSING = "The field is missing"


def _pattern(annotated: Any) -> str:
    return str(annotated.__metadata__[0].pattern)


_PATTERNS = {
    _pattern(EventId): "Expected 1 to 128 printable ASCII characters",
    _pattern(Keyword): "Expected 1 to 50 characters without white space",
}


def _shape(struct: type[Struct]) -> inspect.StructType:
    shape = inspect.type_info(struct)
    assert isinstance(shape, inspect.StructType)
    return shape


_SHAPES = {kind: _shape(struct) for kind, struct in SENT.items()}
_ENVELOPE = _shape(Sent)
_SETTINGS = _shape(SentSettings)


def find_mistakes(value: Any, received_at: datetime) -> list[dict[str, str]]:
    """Path and message of each mistake in the JSON `value`, one for a path, in the order of the body; empty: none."""
    found: dict[str, str] = {}
    for path, message in _body(value, received_at):
        found.setdefault(path, message)
        if len(found) == MAX_MISTAKES:
            break
    return [{"path": path, "message": message} for path, message in found.items()]


def _body(value: Any, received_at: datetime) -> Iterator[Fault]:
    if not isinstance(value, list):
        yield from _event(value, "$", received_at)
    elif not 1 <= len(value) <= MAX_EVENTS:
        yield "$", f"Expected 1 to {MAX_EVENTS} events, got {len(value)}"
    else:
        for index, each in enumerate(value):
            yield from _event(each, f"$[{index}]", received_at)


def _event(value: Any, path: str, received_at: datetime) -> Iterator[Fault]:
    if not isinstance(value, dict):
        yield path, "Expected an event: an object"
        return
    kind = value.get("type")
    shape = _SHAPES.get(kind) if isinstance(kind, str) else None
    if shape is None:
        yield f"{path}.type", f"Expected one of {', '.join(SENT)}" if "type" in value else _MISSING
    yield from _object({name: each for name, each in value.items() if name != "type"}, shape or _ENVELOPE, path)
    try:
        if isinstance(value.get("occurred_at"), str):
            check_time(value["occurred_at"], received_at)
    except Unfit as why:
        yield f"{path}.occurred_at", str(why)
    data = value.get("data")
    if isinstance(data, dict):
        yield from _data(kind, data, f"{path}.data")


def _data(kind: Any, data: dict[str, Any], path: str) -> Iterator[Fault]:
    """What the shape of the event does not tell of its data."""
    if kind == "giveaway.opened":
        yield from _object(data, _SETTINGS, path)
        yield from settings_faults(data, path)
    elif kind == "coins.adjusted" and type(data.get("amount")) is int:
        try:
            check_amount(data["amount"])
        except Unfit as why:
            yield f"{path}.amount", str(why)


def _object(value: dict[str, Any], shape: inspect.StructType, path: str) -> Iterator[Fault]:
    fields = {field.encode_name: field for field in shape.fields}
    for name, each in value.items():
        field = fields.get(name)
        if field is not None:
            yield from _value(each, field.type, member(path, name))
        elif shape.forbid_unknown_fields:
            yield member(path, name), "There is no such field"
    for name, field in fields.items():
        if field.required and name not in value:
            yield member(path, name), _MISSING


def _value(value: Any, shape: inspect.Type, path: str) -> Iterator[Fault]:
    match shape:
        case inspect.Metadata():
            yield from _value(value, shape.type, path)
        case inspect.UnionType():  # all of ours are "or null"
            if value is not None:
                yield from _value(value, shape.types[0], path)
        case inspect.StructType() if isinstance(value, dict):
            yield from _object(value, shape, path)
        case inspect.VarTupleType() if isinstance(value, list) and len(value) <= (shape.max_length or len(value)):
            for index, each in enumerate(value):
                yield from _value(each, shape.item_type, f"{path}[{index}]")
        case _:
            if fault := _fault(value, shape):
                yield path, fault


def _fault(value: Any, shape: inspect.Type) -> str | None:
    """What is wrong with a value that is not looked into."""
    match shape:
        case inspect.StrType():
            return _text_fault(value, shape) if isinstance(value, str) else "Expected a text"
        case inspect.IntType():
            wanted = f"a whole number from {shape.ge} to {shape.le}"
            fits = type(value) is int and _within(value, shape.ge, shape.le)
        case inspect.FloatType():
            wanted = f"a number from {shape.ge:g} to {shape.le:g}"
            fits = type(value) in (int, float) and _within(value, shape.ge, shape.le)
        case inspect.LiteralType():
            wanted = f"one of {', '.join(str(each) for each in shape.values)}"
            fits = isinstance(value, str) and value in shape.values
        case inspect.VarTupleType():
            wanted, fits = f"an array of at most {shape.max_length}", False
        case inspect.StructType() | inspect.DictType():
            wanted, fits = "an object", isinstance(value, dict)
        case _:
            return None
    return None if fits else f"Expected {wanted}"


def _within(value: float, least: float | None, most: float | None) -> bool:
    return (least is None or value >= least) and (most is None or value <= most)


def _text_fault(text: str, shape: inspect.StrType) -> str | None:
    if fault := text_fault(text):
        return fault
    least, most = shape.min_length or 0, shape.max_length or len(text)
    if least <= len(text) <= most and (shape.pattern is None or re.search(shape.pattern, text)):
        return None
    length = f"{least} to {most}" if least else f"at most {most}"
    return _PATTERNS.get(shape.pattern or "", f"Expected a text of {length} characters")
