"""From an HTTP request to a Delivery: media type, size, time and headers, in the order the documentation names.

What may not live here: signatures, and what a body means.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiohttp import ClientError, hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from ingest.codecs.delivery import Delivery
from schemas.errors import Refuse
from schemas.event import utc_now
from streamkit.request_body import is_utf8

MAX_BODY_BYTES = 256 * 1024
BODY_TIMEOUT_S = 10.0
MAX_HEADER_CHARACTERS = 2048
_PRINTABLE = bytes(range(0x20, 0x7F))


class BadRequestBody(Refuse):
    """The body did not come whole: after the answer the connection is of no use."""


async def receive(
    request: web.Request,
    names: Sequence[str],
    required: Sequence[str],
    *,
    exactly_once: Sequence[str] = (),
    body_timeout_s: float = BODY_TIMEOUT_S,
) -> Delivery:
    """The request as a Delivery with those of `names` that it has.

    Waits for the body, at most `body_timeout_s`. Raises Refuse: 415 for a media type that is not JSON in UTF-8, 413 for a body
    over 256 KiB, 408 for one that does not come in time, 400 for one cut short and for a header of `required` that is
    missing or repeated (of `exactly_once`: repeated). Cancellation leaves nothing behind.
    """
    _check_media_type(request)
    body = await _read_body(request, body_timeout_s)
    headers: dict[str, str] = {}
    get_all = request.headers.getall
    for name in names:
        values = get_all(name, ())
        if len(values) == 1:
            headers[name] = values[0]
        elif len(values) > 1 and (name in required or name in exactly_once):
            raise Refuse(400, "repeated_header", f"The header {name.title()} has to be there exactly once.")
        elif values:
            headers[name] = values[0]
    for name in required:
        if not headers.get(name):
            raise Refuse(400, "missing_header", f"The header {name.title()} is missing.")
    for name, value in headers.items():
        if len(value) > MAX_HEADER_CHARACTERS or not value.isascii() or value.encode().translate(None, _PRINTABLE):
            raise Refuse(
                400, "bad_header", f"The header {name.title()} has to be printable ASCII, 2,048 characters at most."
            )
    return Delivery(headers, body, utc_now())


def _check_media_type(request: web.Request) -> None:
    headers = request.headers
    content_type = headers.get(hdrs.CONTENT_TYPE, "")
    if content_type != "application/json":
        media_type = content_type.split(";", 1)[0].strip().lower()
        if media_type != "application/json" and not (
            media_type.startswith("application/") and media_type.endswith("+json")
        ):
            raise Refuse(415, "unsupported_media_type", "Content-Type has to be application/json.")
        if not is_utf8(request):
            raise Refuse(415, "unsupported_media_type", "A delivery has to be in UTF-8.")
    if headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
        raise Refuse(
            415, "unsupported_media_type", "A delivery may not be compressed: its signature is over the bytes."
        )


async def _read_body(request: web.Request, timeout_s: float) -> bytes:
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise _too_large()
    content = request.content
    try:
        if content.is_eof():  # the usual case: head and body came in one piece, nothing to wait for
            body = content.read_nowait(-1)
            if len(body) > MAX_BODY_BYTES:
                raise _too_large()
            return body
        chunks, size = [], 0
        async with asyncio.timeout(timeout_s):
            while chunk := await content.readany():
                size += len(chunk)
                if size > MAX_BODY_BYTES:
                    raise _too_large()
                chunks.append(chunk)
        return b"".join(chunks)
    except TimeoutError:
        raise BadRequestBody(408, "request_timeout", f"The body was not complete within {timeout_s:g} s.") from None
    except (ClientError, HttpProcessingError, ConnectionError):
        raise BadRequestBody(400, "truncated", "The body ended before it was complete.") from None


def _too_large() -> Refuse:
    return BadRequestBody(413, "body_too_large", "A delivery's body may have 256 KiB at most.")
