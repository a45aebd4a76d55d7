"""The read port: the named queries over HTTP, for the api processes that do not own the files.

Internal: bearer token, named queries only. What may not live here: SQL, or anything a consumer may see.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from typing import Any

import duckdb
import msgspec
from aiohttp import web
from msgspec import Struct

from projector.run import Projector
from schemas.errors import Retry
from schemas.read_models import QUERIES
from streamkit.reads import Change, Question

KEEPALIVE_S = 1.0
LONGEST_WAIT_S = 10.0
_BACKLOG = 1_000

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Question(Struct, frozen=True):
    name: str
    parameters: dict[str, Any] = {}


class _Ask(Struct, frozen=True):
    user_id: int
    questions: list[_Question]
    min_position: int = 0
    wait_s: float = 0.0


_ask = msgspec.json.Decoder(_Ask)


def add_routes(app: web.Application, projector: Projector, token: str) -> None:
    """Add the read port's routes to an application; each asks for `token` as bearer."""
    port = _ReadPort(projector)
    for method, path, handler in (
        ("POST", "/internal/v1/ask", port.ask),
        ("GET", "/internal/v1/positions", port.positions),
        ("GET", "/internal/v1/changes", port.changes),
    ):
        app.router.add_route(method, path, _guarded(handler, token))
    app.on_shutdown.append(port.stop)


def build_app(projector: Projector, token: str) -> web.Application:
    """The read port alone."""
    app = web.Application(client_max_size=1 << 20)
    add_routes(app, projector, token)
    return app


def _guarded(handler: Handler, token: str) -> Handler:
    expected = f"Bearer {token}".encode()

    async def guarded(request: web.Request) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").encode(errors="replace")
        if not hmac.compare_digest(given, expected):
            return _json({"error": "unauthorized"}, status=401)
        return await handler(request)

    return guarded


def _json(body: object, *, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")


class _ReadPort:
    def __init__(self, projector: Projector) -> None:
        self._projector = projector
        self._listeners: set[asyncio.Queue[Change | None]] = set()
        projector.on_change(self._changed)

    async def ask(self, request: web.Request) -> web.StreamResponse:
        """Rows and position, or why not."""
        try:
            wanted = _ask.decode(await request.read())
        except (msgspec.MsgspecError, UnicodeError) as error:
            return _json({"error": "malformed", "message": str(error)}, status=400)
        unknown = [question.name for question in wanted.questions if question.name not in QUERIES]
        if unknown:
            return _json({"error": "unknown_query", "message": f"No such query: {unknown[0]}"}, status=400)
        reads = self._projector.reads
        partition = reads.partition_of(wanted.user_id)
        if not reads.owns(partition):
            return _json({"error": "not_owner"}, status=404)
        questions = [Question(name=one.name, parameters=one.parameters) for one in wanted.questions]
        try:
            answer = await reads.ask(
                wanted.user_id,
                questions,
                min_position=wanted.min_position,
                wait_s=min(wanted.wait_s, LONGEST_WAIT_S),
            )
        except Retry:
            if not reads.owns(partition):
                return _json({"error": "not_owner"}, status=404)
            return _json({"error": "behind", "position": reads.position(partition)}, status=503)
        except (
            KeyError,
            TypeError,
            duckdb.InvalidInputException,
            duckdb.ConversionException,
            duckdb.BinderException,
        ) as error:
            return _json({"error": "bad_parameters", "message": type(error).__name__}, status=400)
        return _json(answer)

    async def positions(self, request: web.Request) -> web.StreamResponse:
        """Where the files are, beside the log's ends."""
        try:
            lag = await self._projector.lag()
        except Retry:
            return _json({"error": "log_unavailable"}, status=503)
        return _json(
            {
                "log_id": self._projector.log_id,
                "partitions": self._projector.partitions,
                "positions": {str(partition): position for partition, position in lag.positions.items()},
                "ends": {str(partition): end for partition, end in lag.ends.items()},
                "lag_events": lag.lag_events,
                "lag_s": lag.lag_s,
            }
        )

    async def changes(self, request: web.Request) -> web.StreamResponse:
        """One JSON line a commit, an empty line a second; begins with the present position of every partition."""
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson", "Cache-Control": "no-store"})
        await response.prepare(request)
        queue: asyncio.Queue[Change | None] = asyncio.Queue(_BACKLOG)
        self._listeners.add(queue)
        try:
            for partition, position in self._projector.positions().items():
                await response.write(_line(Change(partition=partition, position=position, user_ids=frozenset())))
            while True:
                try:
                    async with asyncio.timeout(KEEPALIVE_S):
                        change = await queue.get()
                except TimeoutError:
                    await response.write(b"\n")
                    continue
                if change is None:
                    break
                await response.write(_line(change))
        except ConnectionError:
            pass
        finally:
            self._listeners.discard(queue)
        return response

    async def stop(self, app: web.Application) -> None:
        """End the streams so that the server can close."""
        for queue in self._listeners:
            _put(queue, None)

    def _changed(self, change: Change) -> None:
        for queue in list(self._listeners):
            if queue.full():  # a listener that does not keep up starts over when it reconnects
                self._listeners.discard(queue)
                _put(queue, None)
            else:
                queue.put_nowait(change)


def _put(queue: asyncio.Queue[Change | None], last: Change | None) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(last)


def _line(change: Change) -> bytes:
    return msgspec.json.encode(change) + b"\n"
