"""What stands in front of every route of the public API, in whichever room it is answered: method, credentials, rate,
cross-origin rules, failures in the envelope, metrics.

What may not live here: anything that knows one route from another.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from aiohttp import web

from schemas.errors import LogClosed, Problem, Retry
from streamkit import telemetry
from streamkit.connection import hang_up
from streamkit.cors import Cors
from streamkit.credentials import Credentials, Principal
from streamkit.envelope import credentials_of, problem_response, unavailable
from streamkit.limits import Allowance

if TYPE_CHECKING:
    from streamkit.redis import SoftState

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SHARE_EVERY_S = 0.1

_RATE_LIMIT = web.RequestKey("rate_limit", str)
"""Of a request: the RateLimit header of its answer, whatever becomes of it."""


class Front:
    """One per process: all its rooms count a client's requests in the same bucket.

    `rate_limit` in requests a second and client, 0 is off; `cors_origins` as in Cors.
    """

    def __init__(self, credentials: Credentials, *, rate_limit: float, cors_origins: Sequence[str]) -> None:
        self._credentials = credentials
        self.allowance = Allowance(rate_limit)
        self.cors = Cors(cors_origins)

    async def share(self, soft: SoftState) -> None:
        """Tell other processes what clients spend here, and take what they spend there, until cancelled."""
        soft.on_spent(lambda spent: self.allowance.charge(spent, time.monotonic()))
        while True:
            await asyncio.sleep(SHARE_EVERY_S)
            spent = self.allowance.spent()
            if spent:
                soft.spend(spent)

    def handler(self, name: str, methods: tuple[str, ...] | None, answer: Handler) -> Handler:
        """The frame of a route. `name` is its metric label, `methods` what it takes, None: nothing is here.

        `answer` is called for the first method and for HEAD. Problem, Retry and LogClosed become their answer, any
        other exception 500.
        """
        answered = [methods[0], "HEAD"] if methods and "HEAD" in methods else list(methods or ())[:1]
        seconds = telemetry.API_SECONDS.labels(name)
        ok = telemetry.API_REQUESTS.labels(name, "200")

        async def handle(request: web.Request) -> web.StreamResponse:
            started_s = time.perf_counter()
            if methods is None or request.method in answered:
                try:
                    response = await answer(request)
                except Exception as exc:
                    response = self._failure(request, exc, name)
            elif request.method == "OPTIONS":
                response = self._options(request, methods)
            else:
                response = self._failure(request, _not_allowed(methods), name)
            if response.status == 200:
                ok.inc()
            else:
                telemetry.API_REQUESTS.labels(name, str(response.status)).inc()
                if response.status == 408:
                    await hang_up(request, response)
            seconds.observe(time.perf_counter() - started_s)
            return response

        return handle

    async def admit(self, request: web.Request, scope: str) -> tuple[Principal, str | None, bool]:
        """Who asks, the RateLimit header, and whether the credentials stood in the query. Raises Problem."""
        given = credentials_of(request)
        principal = self._credentials.check_cached(given.client_id, given.client_secret, given.jwt, scope=scope)
        if principal is None:
            principal = await self._credentials.check(given.client_id, given.client_secret, given.jwt, scope=scope)
        left = self.allowance.take(principal.client_id, time.monotonic())
        if left is not None:
            request[_RATE_LIMIT] = left
        return principal, left, given.in_query

    def allow_origin(self, request: web.Request, response: web.StreamResponse) -> None:
        """Put the headers on `response` that let a page of the request's origin read it."""
        response.headers["Vary"] = self.cors.vary
        response.headers.update(self.cors.constant or self.cors.of(request.headers.get("Origin")))

    def _options(self, request: web.Request, methods: tuple[str, ...]) -> web.Response:
        headers = {"Allow": ", ".join(methods), "Vary": self.cors.vary}
        return web.Response(status=204, headers=headers | self.cors.preflight(request.headers.get("Origin"), methods))

    def _failure(self, request: web.Request, exc: Exception, name: str) -> web.Response:
        match exc:
            case Problem():
                problem = exc
            case Retry():
                problem = unavailable(exc)
            case LogClosed():
                problem = unavailable(Retry(str(exc)))
            case _:
                telemetry.error("api_failed", exc_info=True, route=name)
                problem = Problem(
                    500, "internal_error", "Something went wrong on our side; the request may be sent again."
                )
        response = problem_response(problem, request)
        response.headers.update(self.allowance.headers(request.get(_RATE_LIMIT)))
        self.allow_origin(request, response)
        return response


def _not_allowed(methods: tuple[str, ...]) -> Problem:
    allow = ", ".join(methods)
    return Problem(405, "method_not_allowed", f"This path takes {allow}.", headers={"Allow": allow})
