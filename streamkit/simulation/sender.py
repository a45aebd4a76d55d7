"""Posts deliveries over real HTTP and measures the answers."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable

import aiohttp
import msgspec
from msgspec import Struct

from schemas.errors import Retry
from streamkit.simulation.delivery import Delivery, Fact

CONNECTIONS = 32


class Sent(Struct, kw_only=True):
    """What came of the deliveries. Latencies in seconds, from the request to the complete answer.

    `accepted` counts the answers 2xx, and `facts` are what those deliveries told; `parked` of them are not on the
    log (no position came back). `rejected` counts the other answers by status, `failed` the requests without any.
    """

    facts: list[Fact] = []
    accepted: int = 0
    parked: int = 0
    rejected: Counter[int] = msgspec.field(default_factory=Counter)
    failed: int = 0
    latencies_s: list[float] = []
    elapsed_s: float = 0.0

    def percentile_ms(self, share: float) -> float:
        """The latency that `share` of the answers stayed under, in milliseconds; 0 without answers."""
        ordered = sorted(self.latencies_s)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000 if ordered else 0.0


async def check_reachable(url: str) -> None:
    """Raises Retry when nothing answers at `url`."""
    try:
        async with aiohttp.ClientSession() as http, http.get(f"{url}/healthz") as answer:
            await answer.read()
    except (aiohttp.ClientError, OSError, ValueError) as exc:
        raise Retry(f"Nothing answers at {url}; start it with: STREAMKIT_SANDBOX=1 streamkit up") from exc


async def send(
    url: str,
    deliveries: Iterable[Delivery],
    *,
    rate: float | None = None,
    connections: int = CONNECTIONS,
    into: Sent | None = None,
) -> Sent:
    """Post every delivery to `url`, `rate` a second (None: as fast as `connections` allow).

    Deliveries are drawn when their turn comes. Cancellation leaves the requests under way unanswered. `into` is filled as
    answers come, and is what is given back.
    """
    sent = Sent() if into is None else into
    source = iter(deliveries)
    began = time.perf_counter()
    turns = 0

    async def work(http: aiohttp.ClientSession) -> None:
        nonlocal turns
        for delivery in source:
            due = began + turns / rate if rate else 0.0
            turns += 1
            wait_s = due - time.perf_counter()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            await _post(http, url, delivery, sent)

    connector = aiohttp.TCPConnector(limit=connections)
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http, asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(work(http))
    sent.elapsed_s = time.perf_counter() - began
    return sent


async def _post(http: aiohttp.ClientSession, url: str, delivery: Delivery, sent: Sent) -> None:
    started = time.perf_counter()
    try:
        async with http.post(url + delivery.path, data=delivery.body, headers=delivery.headers) as answer:
            await answer.read()
    except (aiohttp.ClientError, OSError, TimeoutError):
        sent.failed += 1
        return
    sent.latencies_s.append(time.perf_counter() - started)
    if 200 <= answer.status < 300:
        sent.accepted += 1
        if delivery.fact is not None:
            sent.facts.append(delivery.fact)
            sent.parked += "Streamkit-Position" not in answer.headers
    else:
        sent.rejected[answer.status] += 1
