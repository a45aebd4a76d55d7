"""Intake: signature checked, durable, 2xx; beside bare aiohttp that reads the same bodies and answers 204.

`python -m bench.intake [--seconds N]`. The servers take turns: the baseline, `ingest` alone, `up` (folding meanwhile),
the baseline again, whose mean counts; then `ingest` at 1,000 deliveries/s for its latency. All get the same requests by
the same generator over 64 connections, after the same warm-up: the mix of streamkit/simulation/traffic.py, 47 % Kick
(RSA) and 53 % Twitch (HMAC), 1.3 KB each, every one distinct and none a duplicate. Machine: whatever runs beside counts.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from bench.deployment import Deployment, signed_requests
from bench.load import Result
from bench.processes import load, server
from bench.report import Row, print_rows, ratio_row

_WARM_UP = 2_000


def measure(scratch: Path, *, seconds: float) -> list[Row]:
    """The three rows of intake."""
    requests = signed_requests(int(15_000 * seconds) + _WARM_UP)
    baselines = [_bare(requests, scratch, seconds)]
    results: dict[str, Result] = {}
    for room in ("ingest", "up"):
        deployment = Deployment(scratch / room)
        deployment.register()
        with server("streamkit", room, "--port", "0", env=deployment.env) as ours:
            load(ours.port, requests[:_WARM_UP], scratch, seconds=seconds)
            results[room] = load(ours.port, requests[_WARM_UP:], scratch, seconds=seconds)
    baselines.append(_bare(requests, scratch, seconds))
    baseline_per_s = sum(each.per_s for each in baselines) / len(baselines)
    paced = Deployment(scratch / "paced")
    paced.register()
    with server("streamkit", "ingest", "--port", "0", env=paced.env) as ours:
        steady = load(ours.port, requests, scratch, seconds=seconds, rate=1000.0)
    for result in (*results.values(), steady):
        refused = {status: n for status, n in result.statuses.items() if not status.startswith("2")}
        if refused or not result.sent:
            raise SystemExit(f"intake: not every delivery got a 2xx: {result.statuses}")
    return [
        ratio_row("intake, ingest alone", "deliveries/s", results["ingest"].per_s, baseline_per_s, 0.35),
        ratio_row("intake, up (folding)", "deliveries/s", results["up"].per_s, baseline_per_s, 0.25),
        Row("intake at 1,000/s, p99", "ms", steady.p99_ms, "< 25", steady.p99_ms < 25),
    ]


def _bare(requests: list[bytes], scratch: Path, seconds: float) -> Result:
    bare_requests = [
        request.replace(b"POST /webhooks/kick ", b"POST / ").replace(b"POST /webhooks/twitch ", b"POST / ")
        for request in requests
    ]
    with server("bench.bare") as bare:
        load(bare.port, bare_requests[:_WARM_UP], scratch, seconds=seconds)
        return load(bare.port, bare_requests[_WARM_UP:], scratch, seconds=seconds, repeat=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    with tempfile.TemporaryDirectory() as folder:
        print_rows(measure(Path(folder), seconds=parser.parse_args().seconds))
