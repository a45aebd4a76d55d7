"""The read port: the named queries over HTTP, for the api processes that do not own the files.

Internal: bearer token, named queries only. Where projectors share the partitions, only what the tenure holds is
answered, and each word says in which epoch it is owned. What may not live here: SQL, or anything a consumer may see.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container
from typing import Any

import duckdb
import msgspec
from aiohttp import web
from msgspec import Struct

from projector import answering
from projector.run import Projector
from schemas.errors import Retry
from schemas.read_models import QUERIES
from streamkit.health import bears
from streamkit.log.shares import Sole, Tenure
from streamkit.reads import LOG_ID_HEADER, Change, Question

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


class _Told(Change, frozen=True):
    """A line of the changes: `epoch` is the group generation the partition is owned in, None: no more."""

    epoch: int | None = None


_ask = msgspec.json.Decoder(_Ask)
_SOLE = Sole()


def add_routes(app: web.Application, projector: Projector, token: str, tenure: Tenure = _SOLE) -> None:
    """Add the read port's routes to an application; each asks for `token` as bearer."""
    port = _ReadPort(projector, tenure)
    for method, path, handler in (
        ("POST", "/internal/v1/ask", port.ask),
        ("GET", "/internal/v1/positions", port.positions),
        ("GET", "/internal/v1/changes", port.changes),
        ("GET", answering.PATH, port.generations),
    ):
        app.router.add_route(method, path, _guarded(handler, token))
    app.on_shutdown.append(port.stop)


def build_app(projector: Projector, token: str, tenure: Tenure = _SOLE) -> web.Application:
    """The read port alone."""
    app = web.Application(client_max_size=1 << 20)
    add_routes(app, projector, token, tenure)
    return app


def _guarded(handler: Handler, token: str) -> Handler:
    async def guarded(request: web.Request) -> web.StreamResponse:
        if not bears(request, token):
            return _json({"error": "unauthorized"}, status=401)
        return await handler(request)

    return guarded


def _json(body: object, *, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")


class _ReadPort:
    def __init__(self, projector: Projector, tenure: Tenure) -> None:
        self._projector = projector
        self._tenure = tenure
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
        if not self._may_answer(partition):
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
            if not self._may_answer(partition):
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
        if not self._may_answer(partition):  # lost while it was being answered
            return _json({"error": "not_owner"}, status=404)
        return _json(answer)

    async def positions(self, request: web.Request) -> web.StreamResponse:
        """Where the files are that may be answered from, and since which epoch each is owned. Asks no log."""
        positions = {p: at for p, at in self._projector.positions().items() if self._may_answer(p)}
        return _json(
            {
                "log_id": self._projector.log_id,
                "partitions": self._projector.partitions,
                "positions": {str(partition): position for partition, position in positions.items()},
                "epochs": {str(partition): self._tenure.epoch_of(partition) for partition in positions},
            }
        )

    async def changes(self, request: web.Request) -> web.StreamResponse:
        """One JSON line a commit, an empty line a second; begins with the present position of every partition, and tells
        within a second of one that is owned no more."""
        headers = {"Content-Type": "application/x-ndjson", "Cache-Control": "no-store"}
        response = web.StreamResponse(headers=headers | {LOG_ID_HEADER: self._projector.log_id})
        await response.prepare(request)
        queue: asyncio.Queue[Change | None] = asyncio.Queue(_BACKLOG)
        self._listeners.add(queue)
        stream = _Stream(response, self._tenure)
        loop = asyncio.get_running_loop()
        try:
            for partition, position in self._projector.positions().items():
                await stream.tell(Change(partition, position, frozenset()))
            looked_s = loop.time()
            while True:
                if loop.time() - looked_s >= KEEPALIVE_S:
                    looked_s = loop.time()
                    await stream.tell_what_is_lost(self._projector.positions())
                try:
                    async with asyncio.timeout(KEEPALIVE_S):
                        change = await queue.get()
                except TimeoutError:
                    await response.write(b"\n")
                    continue
                if change is None:
                    break
                await stream.tell(change)
        except ConnectionError:
            pass
        finally:
            self._listeners.discard(queue)
        return response

    async def generations(self, request: web.Request) -> web.StreamResponse:
        """From which files is answered; `?digests=1`: with their digests."""
        return _json(await answering.tell(self._projector, digests=request.query.get("digests") == "1"))

    def _may_answer(self, partition: int) -> bool:
        return self._projector.reads.owns(partition) and self._tenure.holds(partition)

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


class _Stream:
    """One listener, and what it was told last of each partition."""

    def __init__(self, response: web.StreamResponse, tenure: Tenure) -> None:
        self._response = response
        self._tenure = tenure
        self._told: dict[int, Change] = {}

    async def tell(self, change: Change) -> None:
        """A commit of what is owned is a fact, and told whether or not the lease holds at this moment: the listener
        relies on there being no gap."""
        epoch = self._tenure.epoch_of(change.partition)
        if epoch is None:
            await self._tell_lost(change.partition)
            return
        self._told[change.partition] = change
        await self._response.write(_line(change, epoch))

    async def tell_what_is_lost(self, owned: Container[int]) -> None:
        """`owned` are the partitions whose files are here."""
        for partition in list(self._told):
            if partition not in owned or self._tenure.epoch_of(partition) is None:
                await self._tell_lost(partition)

    async def _tell_lost(self, partition: int) -> None:
        last = self._told.pop(partition, None)
        if last is not None:
            await self._response.write(_line(last, None))


def _put(queue: asyncio.Queue[Change | None], last: Change | None) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(last)


def _line(change: Change, epoch: int | None) -> bytes:
    return msgspec.json.encode(_Told(change.partition, change.position, change.user_ids, epoch)) + b"\n"
