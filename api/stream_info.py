"""The command "update my stream's title and category": its body, checked. What may not live here: carrying it out."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from schemas.answers import StreamInfoChange
from schemas.errors import Problem
from streamkit.request_body import read_body

BODY_MAX_BYTES = 65_536


async def read_change(request: web.Request) -> StreamInfoChange:
    """The change asked for, once the body is complete.

    Raises Problem 415, 413, 408, 400 `malformed_body`, 422 `invalid_body` (the first that holds, in this order).
    """
    body = await read_body(request, max_bytes=BODY_MAX_BYTES)
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise Problem(400, "malformed_body", "The body is not JSON in UTF-8.") from exc
    return _change(value)


def _change(value: Any) -> StreamInfoChange:
    errors: list[dict[str, str]] = []
    if not isinstance(value, dict):
        errors.append({"path": "$", "message": "Expected `object`"})
    else:
        fields = {field.name: field.type for field in msgspec.structs.fields(StreamInfoChange)}
        errors += [_error(name, "Unknown field; title and category are taken.") for name in value if name not in fields]
        errors += [
            _error(name, why) for name in fields if name in value and (why := _mistake(value[name], fields[name]))
        ]
        if not value:
            errors.append({"path": "$", "message": "Expected title, category or both"})
    if errors:
        mistakes = "1 mistake" if len(errors) == 1 else f"{len(errors)} mistakes"
        raise Problem(422, "invalid_body", f"The body has {mistakes}; see errors.", errors=errors)
    return msgspec.convert(value, StreamInfoChange)


def _mistake(value: Any, kind: Any) -> str | None:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as exc:
        return str(exc)
    return None


def _error(name: str, message: str) -> dict[str, str]:
    return {"path": f"$.{name}", "message": message}
