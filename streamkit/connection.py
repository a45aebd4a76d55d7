"""One HTTP connection of every room: aiohttp's, with what that lacks.

A head has a time to be complete in; who stops sending gets the answers to what was sent; what no handler answered is
the public API's JSON failure in our own words; and `Server` is one short word. What may not live here: any route.
"""

from __future__ import annotations

import asyncio
import re

from aiohttp import StreamReader, web
from aiohttp.http_exceptions import BadHttpMethod

from schemas.errors import Problem
from streamkit import telemetry
from streamkit.envelope import problem_response

HEADERS_TIMEOUT_S = 15.0
MAX_HEADER_BYTES = 8190
MAX_HEADERS = 128
SERVER = "StreamKit"

_REQUEST_LINE = re.compile(r" b'[A-Z-]+ \S+ HTTP/1\.[01]'")
"""In the parser's complaint of a method: the rest of the line is HTTP, so the method is what is wrong."""

_NOT_IMPLEMENTED = Problem(501, "not_implemented", "This method is none that the server knows.")


class Connection(web.RequestHandler):
    """A complete request costs one check. The timer exists only for a connection that has sent part of a head."""

    __slots__ = ("_answered", "_body", "_ended", "_head_count", "_head_timer")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._head_timer: asyncio.TimerHandle | None = None
        self._answered = 0
        self._ended = False
        self._body: StreamReader | None = None
        super().connection_made(transport)
        self._arm()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._messages:
            self._body = self._messages[-1][1]
        waiter = self._waiter
        if waiter is not None and self._head_count != self._request_count and not waiter.done():
            self._arm()

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client sends no more. aiohttp would hang up at once; ours answers what it has got, then hangs up.

        A body that is not complete ends in ConnectionResetError for the handler that reads it.
        """
        if self._answered == self._request_count:
            return False  # nothing is owed
        self._ended = True
        if self._body is not None and not self._body.is_eof():
            self._body.set_exception(ConnectionResetError("the client stopped sending"))
            self._body.feed_eof()
        return True

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
        super().connection_lost(exc)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer; one that aiohttp made (unknown path, method, Expect) in our own words."""
        if isinstance(resp, web.HTTPException):
            resp = _in_our_words(resp, request)
        sent = await super().finish_response(request, resp, start_time)
        self._answered += 1
        if self._ended and self._answered == self._request_count:
            self.close()
        return sent

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer what is no HTTP, and a handler that failed. aiohttp's words would repeat, and log, the request's."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer had begun")
        if isinstance(exc, BadHttpMethod) and _REQUEST_LINE.search(exc.message):
            problem = _NOT_IMPLEMENTED
        elif status == 400:
            problem = Problem(
                400,
                "bad_request",
                f"This is not valid HTTP, its first line or a header is over {MAX_HEADER_BYTES} bytes, or there are "
                f"over {MAX_HEADERS} headers.",
            )
        else:
            telemetry.error("handler_failed", exc_info=True, status=status)
            problem = Problem(500, "internal_error", "Something went wrong on our side; the log has the details.")
        answer = problem_response(problem, request)
        answer.headers["Server"] = SERVER
        answer.force_close()
        return answer

    def _arm(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
        self._head_count = self._request_count
        self._head_timer = self._loop.call_later(HEADERS_TIMEOUT_S, self._head_overdue)

    def _head_overdue(self) -> None:
        self._head_timer = None
        if self._request_count == self._head_count:
            self.force_close()


async def name_server(_request: web.Request, response: web.StreamResponse) -> None:
    """For `Application.on_response_prepare`: aiohttp's own `Server` header tells versions."""
    response.headers["Server"] = SERVER


async def hang_up(request: web.Request, response: web.StreamResponse) -> None:
    """Answer, and close at once. aiohttp would wait for the rest of the body before it closes; its sender has been waited
    for already."""
    await response.prepare(request)
    await response.write_eof()
    request.protocol.force_close()


def _in_our_words(found: web.HTTPException, request: web.BaseRequest) -> web.StreamResponse:
    """An answer that aiohttp made, as the public API's failure; one that is none of these as it is."""
    match found:
        case web.HTTPNotFound() if request.method == "CONNECT":
            problem = _NOT_IMPLEMENTED
        case web.HTTPNotFound():
            problem = Problem(404, "not_found", "There is nothing at this path.")
        case web.HTTPMethodNotAllowed():
            allow = ", ".join(sorted(found.allowed_methods))
            problem = Problem(405, "method_not_allowed", f"This path takes {allow}.", headers={"Allow": allow})
        case web.HTTPRequestEntityTooLarge():
            problem = Problem(413, "body_too_large", "The body is larger than this path takes.")
        case web.HTTPExpectationFailed():
            problem = Problem(417, "expectation_failed", "The only Expect that is understood is 100-continue.")
        case _:
            return found
    return problem_response(problem, request)
