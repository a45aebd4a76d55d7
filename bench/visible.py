"""From a delivery's 2xx to its number in the API, while 1,000 deliveries a second come in.

`python -m bench.visible [--seconds N]`. `up` takes the traffic; probes deliver one event each and ask `GET /kicks`
every 2 ms until the answer reflects it.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from bench.client import Client
from bench.deployment import Deployment, signed_requests
from bench.load import Result, result_of
from bench.processes import load, server
from bench.report import Row, print_rows
from streamkit.simulation.delivery import Delivery
from streamkit.simulation.traffic import traffic


def measure(scratch: Path, *, seconds: float) -> list[Row]:
    """The row of freshness."""
    deployment = Deployment(scratch / "visible")
    credentials = deployment.register()
    requests = signed_requests(int(1000 * (seconds + 2)))
    start = datetime.now(UTC) - timedelta(seconds=60)
    probes = [
        delivery
        for delivery in islice(traffic(2, start=start, interval=timedelta(milliseconds=100)), 600)
        if delivery.fact is not None
    ]
    with server("streamkit", "up", "--port", "0", env=deployment.env) as up:
        background = threading.Thread(
            target=load, args=(up.port, requests, scratch), kwargs={"seconds": seconds, "rate": 1000.0}
        )
        background.start()
        time.sleep(1.0)  # until the load is under way
        result = _probe(up.port, credentials, probes, until=time.monotonic() + seconds - 1.5)
        background.join()
    return [Row("2xx to visible at 1,000/s, p95", "ms", result.p95_ms, "< 100", result.p95_ms < 100)]


def _probe(port: int, credentials: Mapping[str, str], probes: list[Delivery], *, until: float) -> Result:
    waits: list[float] = []
    with Client(port) as client:
        for delivery in probes:
            if time.monotonic() > until:
                break
            answer = client.send("POST", delivery.path, delivery.headers, delivery.body)
            position = answer.headers.get("Streamkit-Position")
            acknowledged = time.perf_counter()
            if position is None:
                continue
            wanted = int(position.split(":")[1])
            while (
                int(client.send("GET", "/api/public/v2/kicks", credentials).headers["Streamkit-Position"].split(":")[1])
                < wanted
            ):
                time.sleep(0.002)
            waits.append(time.perf_counter() - acknowledged)
    if len(waits) < 10:
        raise SystemExit(f"visible: only {len(waits)} probes were counted")
    return result_of(waits, {}, 1.0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    with tempfile.TemporaryDirectory() as folder:
        print_rows(measure(Path(folder), seconds=parser.parse_args().seconds))
