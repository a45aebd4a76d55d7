"""Every outgoing call to a platform goes through here: configured hosts only, a time limit, a size limit, retries within
a budget, and a circuit breaker per host, so that a platform in trouble costs us nothing.

What may not live here: what an answer means. Nothing here logs a query, a header or a body: tokens travel in them.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import aiohttp
from msgspec import Struct
from yarl import URL

from schemas.errors import ForbiddenHost, PlatformAway, PlatformRefused, PlatformTimeout
from streamkit import telemetry
from streamkit.platforms.breaker import Breaker

MAX_ANSWER_BYTES = 4 << 20
CONNECT_TIMEOUT_S = 3.0

_PAUSE_FIRST_S = 0.1
_PAUSE_LAST_S = 2.0
_PER_HOST = 20
"""Connections to one host at once; further calls wait their turn within their own time limit."""


class Answer(Struct, frozen=True):
    """What a host answered, 4xx and 5xx too. `headers` are looked up without regard to case."""

    status: int
    body: bytes
    headers: Mapping[str, str]


class Outgoing:
    """One per process and event loop. `allowed`: base addresses from the settings; only their scheme, host and port
    count. Connections are made when first needed; `close` ends them."""

    def __init__(self, allowed: Collection[str], *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._breakers = {URL(base).origin(): Breaker() for base in allowed}
        self._monotonic = monotonic
        self._session: aiohttp.ClientSession | None = None

    async def call(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | list[tuple[str, str]] | None = None,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        timeout_s: float = 5.0,
        attempts: int = 1,
    ) -> Answer:
        """Call, and give back the answer, whatever its status; redirects are answers too.

        `timeout_s` is for one attempt, connecting included. `attempts` > 1, only where repeating is safe: after not
        reaching the host, a timeout or a 5xx, while the host's budget of retries lasts; the last 5xx is the answer.
        Raises PlatformAway (nothing was sent), PlatformTimeout (the outcome is unknown), PlatformRefused for an answer
        over 4 MiB, ForbiddenHost. Cancellation hangs up.
        """
        target = URL(url)
        breaker = self._breakers.get(target.origin()) if target.is_absolute() else None
        if breaker is None:
            raise ForbiddenHost(f"A call to {target.host} was stopped: no setting names this host.")
        request = {"headers": headers, "params": params, "json": json, "data": form}
        for attempt in range(1, attempts + 1):
            last = attempt == attempts
            try:
                answer = await self._attempt(breaker, method, target, request, timeout_s)
            except (PlatformAway, PlatformTimeout):
                if last or breaker.is_open or not breaker.spend_retry():
                    raise
            else:
                if answer.status < 500 or last or breaker.is_open or not breaker.spend_retry():
                    return answer
            # Full jitter, https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/.
            await asyncio.sleep(random.uniform(0, min(_PAUSE_LAST_S, _PAUSE_FIRST_S * 2**attempt)))  # noqa: S311
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def close(self) -> None:
        """End all connections; idempotent."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _attempt(
        self, breaker: Breaker, method: str, url: URL, request: Mapping[str, Any], timeout_s: float
    ) -> Answer:
        host = url.host or ""
        started_s = self._monotonic()
        if not breaker.admits(started_s):
            telemetry.PLATFORM_CALLS.labels(host, "away").inc()
            raise PlatformAway(
                f"{host} did not answer for a while and is left alone for a moment.",
                math.ceil(breaker.retry_after_s(started_s)) or 1,
            )
        outcome = None
        try:
            answer = await self._send(method, url, request, timeout_s)
            outcome = "ok" if answer.status < 400 else "refused" if answer.status < 500 else "failed"
            telemetry.PLATFORM_SECONDS.labels(host).observe(self._monotonic() - started_s)
            return answer
        except PlatformAway:
            outcome = "away"
            raise
        except PlatformTimeout:
            outcome = "timeout"
            raise
        except PlatformRefused:
            outcome = "refused"
            raise
        finally:
            self._note(breaker, host, outcome)

    def _note(self, breaker: Breaker, host: str, outcome: str | None) -> None:
        was_open = breaker.is_open
        if outcome is None:
            breaker.abandoned()
            return
        if outcome in ("ok", "refused"):
            breaker.succeeded()
        else:
            breaker.failed(self._monotonic())
        telemetry.PLATFORM_CALLS.labels(host, outcome).inc()
        telemetry.PLATFORM_BREAKER_OPEN.labels(host).set(breaker.is_open)
        if breaker.is_open and not was_open:
            telemetry.warn("platform_held_back", host=host)
        elif was_open and not breaker.is_open:
            telemetry.info("platform_answers_again", host=host)

    async def _send(self, method: str, url: URL, request: Mapping[str, Any], timeout_s: float) -> Answer:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(),
                connector=aiohttp.TCPConnector(limit=0, limit_per_host=_PER_HOST),
                headers={"User-Agent": "StreamKit", "Accept": "application/json"},
            )
        limit = aiohttp.ClientTimeout(total=timeout_s, connect=min(timeout_s, CONNECT_TIMEOUT_S))
        try:
            async with self._session.request(method, url, allow_redirects=False, timeout=limit, **request) as answer:
                return Answer(answer.status, await _body(answer), answer.headers)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise PlatformAway(
                f"{url.host} is not reached ({type(error).__name__}); it is tried again later."
            ) from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise PlatformTimeout(f"{url.host} did not answer in time ({type(error).__name__}).") from None


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise PlatformRefused(answer.url.host or "", answer.status, f"more than {MAX_ANSWER_BYTES} bytes")
    return bytes(body)
