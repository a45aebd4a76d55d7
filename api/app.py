"""The api room: read models to JSON over HTTP.

One handler for each route of api/routes.py. Checks come in this order: path, method, credentials, scope, rate,
parameters, body. A kept answer costs two look-ups and a copy of headers; what may not live here is middleware.
"""

from __future__ import annotations

import functools
import time
from datetime import tzinfo

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from api import parameters as params
from api.answers import Asked
from api.changing import Changing
from api.kept import GZIP_FROM_BYTES, Answers, Kept, Served, gzip
from api.parameters import Parameters
from api.read import Read
from api.remote import RemoteReadModels
from api.routes import OPENAPI, READS, ROUTES, STREAM_INFO
from api.stream_info import read_change
from schemas.errors import Problem
from schemas.first_party_route import PUSH_EVENTS
from schemas.openapi import Operation, build_document
from streamkit import telemetry
from streamkit.connection import SERVER
from streamkit.directory import Directory
from streamkit.envelope import JSON_TYPE, success_body
from streamkit.front import Front, Handler
from streamkit.reads import ReadModels
from streamkit.redis import SoftState
from streamkit.wire import DateHeader, Ready, is_plain

_NO_CACHE = "private, no-cache"
_NO_STORE = "no-store"
_QUERIES_KEPT = 1000


class ApiRoom:
    """The public API over one ReadModels. Everything it needs is an argument; nothing here reads a setting."""

    def __init__(
        self,
        reads: ReadModels,
        directory: Directory,
        soft: SoftState,
        front: Front,
        *,
        timezone: tzinfo,
        changing: Changing | None = None,
    ) -> None:
        """Without `changing` no platform can be written to."""
        self._changing = changing
        self._reads = reads
        self._directory = directory
        self._soft = soft
        self._timezone = timezone
        self._front = front
        self._cors = front.cors
        told = reads.following if isinstance(reads, RemoteReadModels) else _always
        self._answers = Answers(lambda: directory.version, told)
        self._constant = {
            "Content-Type": JSON_TYPE,
            "Server": SERVER,
            "Cache-Control": _NO_CACHE,
            "Vary": self._cors.vary,
            **self._cors.constant,
        }
        if front.allowance.policy is not None:
            self._constant["RateLimit-Policy"] = front.allowance.policy
        self._date = DateHeader()
        self._chosen: dict[tuple[str, str], Parameters] = {}
        self._document = msgspec.json.encode(build_document((*ROUTES, PUSH_EVENTS)))
        self._document_gzip = gzip(self._document)

    async def start(self) -> None:
        """Listen to the change feeds. Call once, before serving."""
        self._reads.on_change(self._answers.changed)
        self._soft.on_change(self._answers.hinted)

    async def close(self) -> None:
        """Cancel the reads under way, let commands come to their end; idempotent."""
        if self._changing is not None:
            await self._changing.close()
        await self._answers.close()

    def readiness(self) -> list[str]:
        """Why answers are degraded, each a sentence; empty when all is well. Does no I/O."""
        reasons = [] if self._soft.connected else ["Redis is away: changes are learnt of from the projector alone."]
        if isinstance(self._reads, RemoteReadModels):
            reasons += self._reads.readiness()
        return reasons

    def add_routes(self, app: web.Application) -> None:
        """Serve every path of ROUTES, and the envelope's 404 for all others below /api."""
        for route in READS:
            self._add(app, route, functools.partial(self._read, route))
        self._add(app, STREAM_INFO, self._stream_info)
        self._add(app, OPENAPI, self._openapi)
        for path in ("/api", "/api/{tail:.*}"):
            app.router.add_route("*", path, self._front.handler("unknown", None, _not_found))

    def _add(self, app: web.Application, operation: Operation, answer: Handler) -> None:
        app.router.add_route("*", operation.path, self._front.handler(operation.name, operation.methods, answer))

    async def _read(self, route: Read, request: web.Request) -> web.StreamResponse:
        principal, left, in_query = await self._front.admit(request, "read")
        chosen, min_position = self._parameters(route, request, principal.user_id)
        key = (principal.user_id, route.path, chosen)
        served = self._answers.fresh(key, min_position)
        if served is None:
            build = functools.partial(self._build, route, principal.user_id, chosen)
            served = await self._answers.fetch(key, min_position, build)
            telemetry.API_CACHE.labels("miss" if served.age_s is None else "stale").inc()
        else:
            _HIT.inc()
        return self._success(request, served, left, in_query)

    def _parameters(self, route: Read, request: web.Request, user_id: int) -> tuple[Parameters, int]:
        asked = request.headers.getall("Streamkit-Min-Position", None)
        chosen = self._choose(route, request)
        return chosen, 0 if asked is None else params.min_position(asked, self._reads.partition_of(user_id))

    def _choose(self, route: Read, request: web.Request) -> Parameters:
        """The parameters of the request; the same query is parsed once."""
        query = route.path, request.rel_url.raw_query_string
        chosen = self._chosen.get(query)
        if chosen is None:
            chosen = params.parse(route.parameters, request.query, route.path)
            if len(self._chosen) >= _QUERIES_KEPT:
                self._chosen.clear()
            if "client_secret" not in query[1] and "jwt" not in query[1]:
                self._chosen[query] = chosen
        return chosen

    async def _build(self, route: Read, user_id: int, chosen: Parameters, min_position: int, wait_s: float) -> Kept:
        version, built_s, now_us = self._directory.version, time.monotonic(), time.time_ns() // 1000
        broadcaster = self._directory.broadcaster(user_id)
        if broadcaster is None:  # removed since the credentials were checked
            raise Problem(401, "invalid_credentials", "Unknown client_id, or the client_secret is not this client's.")
        asked = Asked(broadcaster, chosen, now_us, self._timezone)
        answer = await self._reads.ask(user_id, route.questions(asked), min_position=min_position, wait_s=wait_s)
        rows, following = route.paged(answer.rows, chosen.limit)
        data = route.build(asked, *rows)
        body = success_body(broadcaster, data, now_us=now_us, timezone=self._timezone, next=following)
        return Kept(body, answer.partition, answer.position, version, built_s)

    def _success(self, request: web.Request, served: Served, left: str | None, in_query: bool) -> web.StreamResponse:
        kept = served.kept
        body = kept.body
        packed = len(body) > GZIP_FROM_BYTES and accepts_gzip(request.headers.get("Accept-Encoding"))
        if packed:
            body = kept.gzip()
        origin = {} if self._cors.constant else self._cors.of(request.headers.get("Origin"))
        if request.method == "GET" and is_plain(request) and not in_query and not origin:
            head = kept.heads.get(packed)
            if head is None:
                head = kept.heads[packed] = self._head(len(body), packed)
            return Ready(head + self._varying(kept, served, left), body)
        headers = CIMultiDict(self._constant)
        headers["Streamkit-Position"] = kept.position_text(served.position)
        if left is not None:
            headers["RateLimit"] = left
        if served.age_s is not None:
            headers["Age"] = str(served.age_s)
        if packed:
            headers["Content-Encoding"] = "gzip"
        if in_query:
            headers["Cache-Control"] = _NO_STORE
        headers.update(origin)
        return web.Response(body=body, headers=headers)

    def _head(self, length: int, packed: bool) -> bytes:
        """The part of a head that is the same as long as the body is."""
        lines = [f"{name}: {value}\r\n" for name, value in self._constant.items()]
        coding = "Content-Encoding: gzip\r\n" if packed else ""
        return f"HTTP/1.1 200 OK\r\n{''.join(lines)}{coding}Content-Length: {length}\r\n".encode()

    def _varying(self, kept: Kept, served: Served, left: str | None) -> bytes:
        """The rest of the head, with its end."""
        age = "" if served.age_s is None else f"Age: {served.age_s}\r\n"
        rate = "" if left is None else f"RateLimit: {left}\r\n"
        position = kept.position_text(served.position)
        return f"{self._date.line()}Streamkit-Position: {position}\r\n{age}{rate}\r\n".encode("ascii")

    async def _stream_info(self, request: web.Request) -> web.Response:
        principal, left, _ = await self._front.admit(request, "stream-info:write")
        key = params.idempotency_key(request.headers)
        change = await read_change(request)
        broadcaster = self._directory.broadcaster(principal.user_id)
        if self._changing is None or broadcaster is None:
            raise Problem(
                409,
                "no_connected_platform",
                "No platform is connected for writing; connect the broadcaster's account first.",
            )
        made = await self._changing.change(principal, change, key)
        body = success_body(broadcaster, made, now_us=time.time_ns() // 1000, timezone=self._timezone)
        headers = {"Content-Type": JSON_TYPE, "Server": SERVER, "Cache-Control": _NO_STORE}
        response = web.Response(body=body, headers=headers | self._front.allowance.headers(left))
        self._front.allow_origin(request, response)
        return response

    async def _openapi(self, request: web.Request) -> web.Response:
        params.parse(OPENAPI.parameters, request.query, OPENAPI.path)
        packed = accepts_gzip(request.headers.get("Accept-Encoding"))
        headers = {"Content-Type": JSON_TYPE, "Cache-Control": "no-cache"}
        if packed:
            headers["Content-Encoding"] = "gzip"
        response = web.Response(body=self._document_gzip if packed else self._document, headers=headers)
        self._front.allow_origin(request, response)
        return response


def build_app(room: ApiRoom) -> web.Application:
    """An application that serves the room alone."""
    app = web.Application()
    room.add_routes(app)
    return app


@functools.lru_cache(maxsize=256)
def accepts_gzip(accept_encoding: str | None) -> bool:
    """Whether an Accept-Encoding header lets gzip in."""
    allowed = False
    for item in (accept_encoding or "").lower().split(","):
        coding, _, weight = item.partition(";")
        if coding.strip() in ("gzip", "x-gzip", "*"):
            refused = weight.replace(" ", "").removeprefix("q=").rstrip("0") in ("0.", "") and "=" in weight
            if coding.strip() != "*":
                return not refused
            allowed = not refused
    return allowed


def _always(partition: int) -> bool:
    return True


async def _not_found(request: web.Request) -> web.Response:
    raise Problem(404, "not_found", "There is nothing at this path; the API's paths begin with /api/public/v2/.")


_HIT = telemetry.API_CACHE.labels("hit")
