"""A load generator: raw HTTP/1.1 over asyncio protocols, in a process of its own.

`python -m bench.load` reads one JSON job on standard input and writes one JSON result on standard output. Requests are
prepared bytes, so that the generator costs far less than the server it measures. Each connection has one request
under way. With `rate` the requests are due at fixed times and latency counts from the due time (no coordinated
omission); without it, each connection sends as soon as it has its answer.
"""

from __future__ import annotations

import asyncio
import pickle
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import uvloop


class Job(msgspec.Struct, frozen=True):
    """What to send: `requests_path` holds a pickled list of request bytes, sent in order (again from the start when
    `repeat`). Stops after `seconds`, or when the requests run out."""

    port: int
    requests_path: str
    connections: int = 64
    seconds: float = 5.0
    rate: float = 0.0
    repeat: bool = False


class Result(msgspec.Struct, frozen=True):
    """What came back; latencies in milliseconds. `sent` requests were answered, by `statuses`."""

    sent: int
    seconds: float
    per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    statuses: dict[str, int]


class _Run:
    def __init__(self, job: Job, requests: list[bytes]) -> None:
        self.job = job
        self.source: Iterator[bytes] = self._endless(requests) if job.repeat else iter(requests)
        self.latencies: list[float] = []
        self.statuses: Counter[str] = Counter()
        self.started = time.perf_counter()
        self.deadline = self.started + job.seconds
        self.issued = 0
        self.open = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @staticmethod
    def _endless(requests: list[bytes]) -> Iterator[bytes]:
        while True:
            yield from requests

    def next_due(self) -> float:
        """The time at which the next request is due (now, without a rate)."""
        if not self.job.rate:
            return time.perf_counter()
        due = self.started + self.issued / self.job.rate
        self.issued += 1
        return due

    def closed(self) -> None:
        self.open -= 1
        if self.open == 0 and not self.done.done():
            self.done.set_result(None)


class _Connection(asyncio.Protocol):
    def __init__(self, run: _Run) -> None:
        self.run = run
        self.buffer = b""
        self.due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.run.open += 1
        self._schedule()

    def _schedule(self) -> None:
        self.due = self.run.next_due()
        wait = self.due - time.perf_counter()
        if wait > 0.0005:
            asyncio.get_running_loop().call_later(wait, self._send)
        else:
            self._send()

    def _send(self) -> None:
        request = next(self.run.source, None)
        if request is None or time.perf_counter() > self.run.deadline:
            self.transport.close()
            return
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head = self.buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        start = self.buffer.lower().find(b"content-length:", 0, head)
        length = int(self.buffer[start + 15 : self.buffer.index(b"\r\n", start)]) if start >= 0 else 0
        if len(self.buffer) < head + 4 + length:
            return
        self.run.latencies.append(time.perf_counter() - self.due)
        self.run.statuses[self.buffer[9:12].decode()] += 1
        self.buffer = b""
        self._schedule()

    def connection_lost(self, exc: Exception | None) -> None:
        self.run.closed()


def _requests(job: Job) -> list[bytes]:
    requests: list[bytes] = pickle.loads(Path(job.requests_path).read_bytes())
    return requests


async def _main(job: Job) -> Result:
    requests = _requests(job)
    loop = asyncio.get_running_loop()
    run = _Run(job, requests)
    await asyncio.gather(
        *(loop.create_connection(lambda: _Connection(run), "127.0.0.1", job.port) for _ in range(job.connections))
    )
    async with asyncio.timeout(job.seconds + 30):
        await run.done
    took = time.perf_counter() - run.started
    return result_of(run.latencies, run.statuses, took)


def result_of(latencies: list[float], statuses: dict[str, int], seconds: float) -> Result:
    """Percentiles of latencies given in seconds."""
    ordered = sorted(latencies) or [0.0]
    p50, p95, p99 = (round(1000 * ordered[min(len(ordered) - 1, int(q * len(ordered)))], 2) for q in (0.5, 0.95, 0.99))
    sent = len(latencies)
    return Result(sent, round(seconds, 3), round(sent / seconds, 1), p50, p95, p99, dict(statuses))


if __name__ == "__main__":
    sys.stdout.buffer.write(
        msgspec.json.encode(uvloop.run(_main(msgspec.json.decode(sys.stdin.buffer.read(), type=Job))))
    )
