"""The command "update my stream's title and category": its body, checked.

No platform can be connected for writing yet, so the command ends in 409 after the checks; what a platform answers
comes with the connection.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from aiohttp import ClientError, web
from aiohttp.http import HttpProcessingError

from schemas.answers import StreamInfoChange
from schemas.errors import Problem

BODY_MAX_BYTES = 65_536
BODY_TIMEOUT_S = 10.0


async def read_change(request: web.Request) -> StreamInfoChange:
    """The change asked for, once the body is complete.

    Raises Problem 415, 413, 408, 400 `malformed_body`, 422 `invalid_body` (the first that holds, in this order).
    """
    if request.content_type != "application/json" and not request.content_type.endswith("+json"):
        raise Problem(415, "unsupported_media_type", "The body must be sent as Content-Type: application/json.")
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise Problem(415, "unsupported_media_type", "The body must be sent without a Content-Encoding.")
    body = await _body(request)
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise Problem(400, "malformed_body", "The body is not JSON in UTF-8.") from exc
    return _change(value)


async def _body(request: web.Request) -> bytes:
    too_large = Problem(413, "body_too_large", f"The body is larger than {BODY_MAX_BYTES} bytes.")
    if (request.content_length or 0) > BODY_MAX_BYTES:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > BODY_MAX_BYTES:
                    raise too_large
    except TimeoutError as exc:
        raise Problem(408, "request_timeout", f"The body was not complete within {BODY_TIMEOUT_S:g} seconds.") from exc
    except (ClientError, HttpProcessingError, ConnectionError) as exc:
        raise Problem(400, "malformed_body", "The body ended before it was complete.") from exc
    return bytes(body)


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
