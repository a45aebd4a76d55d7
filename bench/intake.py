"""Intake: signature checked, durable, 2xx; beside bare aiohttp that reads the same bodies and answers 204.

`python -m bench.intake [--seconds N]`. The servers take turns: the baseline, `ingest` alone, `up` (folding meanwhile),
the baseline again, whose mean counts; then `ingest` at 1,000 deliveries/s for its latency. All get the same requests by
the same generator over 64 connections, after the same warm-up: the mix of streamkit/simulation/traffic.py, 47 % Kick
(RSA) and 53 % Twitch (HMAC), 1.3 KB each, every one distinct and none a duplicate. Whatever else runs on the machine
counts; the processor time of a delivery, in all threads of the server, suffers least from it.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from msgspec import Struct

from bench.deployment import Deployment, signed_requests
from bench.load import Result
from bench.processes import Server, cpu_s, load, server
from bench.report import Row, print_rows, ratio_row

_WARM_UP = 2_000


class _Loaded(Struct, frozen=True):
    # `cpu_us` of the server for one request.
    result: Result
    cpu_us: float


def measure(scratch: Path, *, seconds: float) -> list[Row]:
    """The rows of intake."""
    requests = signed_requests(int(15_000 * seconds) + _WARM_UP)
    bare_requests = [
        request.replace(b"POST /webhooks/kick ", b"POST / ").replace(b"POST /webhooks/twitch ", b"POST / ")
        for request in requests
    ]
    with server("bench.bare") as bare:
        before = _loaded(bare, bare_requests, scratch, seconds)
    results: dict[str, _Loaded] = {}
    for room in ("ingest", "up"):
        deployment = Deployment(scratch / room)
        deployment.register()
        with server("streamkit", room, "--port", "0", env=deployment.env) as ours:
            results[room] = _loaded(ours, requests, scratch, seconds)
    with server("bench.bare") as bare:
        after = _loaded(bare, bare_requests, scratch, seconds)
    baseline_per_s = (before.result.per_s + after.result.per_s) / 2
    paced = Deployment(scratch / "paced")
    paced.register()
    with server("streamkit", "ingest", "--port", "0", env=paced.env) as ours:
        steady = load(ours.port, requests, scratch, seconds=seconds, rate=1000.0)
    for result in (*(each.result for each in results.values()), steady):
        refused = {status: n for status, n in result.statuses.items() if not status.startswith("2")}
        if refused or not result.sent:
            raise SystemExit(f"intake: not every delivery got a 2xx: {result.statuses}")
    return [
        ratio_row("intake, ingest alone", "deliveries/s", results["ingest"].result.per_s, baseline_per_s, 0.35),
        ratio_row("intake, up (folding)", "deliveries/s", results["up"].result.per_s, baseline_per_s, 0.25),
        *(
            Row(
                f"processor time of a delivery, {room}",
                "us",
                each.cpu_us,
                "–",
                True,
                (before.cpu_us + after.cpu_us) / 2,
            )
            for room, each in results.items()
        ),
        Row("intake at 1,000/s, p99", "ms", steady.p99_ms, "< 25", steady.p99_ms < 25),
    ]


def _loaded(at: Server, requests: list[bytes], scratch: Path, seconds: float) -> _Loaded:
    load(at.port, requests[:_WARM_UP], scratch, seconds=seconds)
    began_s = cpu_s(at.pid)
    result = load(at.port, requests[_WARM_UP:], scratch, seconds=seconds)
    return _Loaded(result, 1e6 * (cpu_s(at.pid) - began_s) / max(1, result.sent))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    with tempfile.TemporaryDirectory() as folder:
        print_rows(measure(Path(folder), seconds=parser.parse_args().seconds))
