"""A request's JSON body of the public API, read with limits. What may not live here: what a body means."""

from __future__ import annotations

import asyncio

from aiohttp import ClientError, web
from aiohttp.http import HttpProcessingError

from schemas.errors import Problem

BODY_TIMEOUT_S = 10.0


async def read_body(request: web.Request, *, max_bytes: int) -> bytes:
    """The bytes of a body that is declared as JSON; waits for them, at most `BODY_TIMEOUT_S`.

    Raises Problem: 415 for another media type or character set, or a compressed body, 413 over `max_bytes`, 408 when it does not come in
    time, 400 `malformed_body` when it is cut short (the first that holds, in this order). Cancellation is safe.
    """
    if request.content_type != "application/json" and not request.content_type.endswith("+json"):
        raise Problem(415, "unsupported_media_type", "The body must be sent as Content-Type: application/json.")
    if not is_utf8(request):
        raise Problem(415, "unsupported_media_type", "The body must be sent in UTF-8, the only charset of JSON.")
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise Problem(415, "unsupported_media_type", "The body must be sent without a Content-Encoding.")
    too_large = Problem(413, "body_too_large", f"The body is larger than {max_bytes} bytes.")
    if (request.content_length or 0) > max_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > max_bytes:
                    raise too_large
    except TimeoutError as exc:
        raise Problem(408, "request_timeout", f"The body was not complete within {BODY_TIMEOUT_S:g} seconds.") from exc
    except (ClientError, HttpProcessingError, ConnectionError) as exc:
        raise Problem(400, "malformed_body", "The body ended before it was complete.") from exc
    return bytes(body)


def is_utf8(request: web.Request) -> bool:
    """Whether the Content-Type names no other character set than UTF-8."""
    return (request.charset or "utf-8").lower() in ("utf-8", "utf8")
