"""Intake: signature checked, durable, 2xx; beside bare aiohttp that reads the same bodies and answers 204.

`python -m bench.intake [--seconds N]`. Three servers take turns: the baseline, `ingest` alone, `up` (folding meanwhile);
then `ingest` at 1,000 deliveries/s for its latency.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from bench.deployment import Deployment, signed_requests
from bench.processes import load, server
from bench.report import Row, print_rows, ratio_row


def measure(scratch: Path, *, seconds: float) -> list[Row]:
    """The three rows of intake."""
    requests = signed_requests(int(11_000 * seconds))
    bare_requests = [
        request.replace(b"POST /webhooks/kick ", b"POST / ").replace(b"POST /webhooks/twitch ", b"POST / ")
        for request in requests
    ]
    with server("bench.bare") as bare:
        load(bare.port, bare_requests[:2000], scratch, seconds=2.0)
        baseline = load(bare.port, bare_requests, scratch, seconds=seconds, repeat=True)
    results: dict[str, Any] = {}
    for room in ("ingest", "up"):
        deployment = Deployment(scratch / room)
        deployment.register()
        with server("streamkit", room, "--port", "0", env=deployment.env) as ours:
            results[room] = load(ours.port, requests, scratch, seconds=seconds)
    paced = Deployment(scratch / "paced")
    paced.register()
    with server("streamkit", "ingest", "--port", "0", env=paced.env) as ours:
        steady = load(ours.port, requests, scratch, seconds=seconds, rate=1000.0)
    for result in (*results.values(), steady):
        refused = {status: n for status, n in result.statuses.items() if not status.startswith("2")}
        if refused or not result.sent:
            raise SystemExit(f"intake: not every delivery got a 2xx: {result.statuses}")
    return [
        ratio_row("intake, ingest alone", "deliveries/s", results["ingest"].per_s, baseline.per_s, 0.35),
        ratio_row("intake, up (folding)", "deliveries/s", results["up"].per_s, baseline.per_s, 0.25),
        Row("intake at 1,000/s, p99", "ms", steady.p99_ms, "< 25", steady.p99_ms < 25),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    with tempfile.TemporaryDirectory() as folder:
        print_rows(measure(Path(folder), seconds=parser.parse_args().seconds))
