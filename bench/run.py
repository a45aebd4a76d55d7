"""Every number the project promises, each beside its baseline of the same run: `make bench`.

Prints a table and writes `bench/results.json`. `BENCH_QUICK=1` takes under a minute, with smaller logs and shorter
runs: its figures show that the bench works, not what the program can do. Exits 1 when a target is missed in a full run.
"""

from __future__ import annotations

import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench import big_log, cached_get, intake, live_fold, rebuild, visible
from bench.report import Row, print_rows, ratio_row

QUICK = os.environ.get("BENCH_QUICK") == "1"


def main() -> None:
    """Run each part in turn, so that none disturbs another."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        rows += intake.measure(scratch, seconds=1.0 if QUICK else 6.0)
        rows += _live_fold(scratch)
        rows += rebuild.measure(scratch, count=100_000 if QUICK else 10_000_000)
        cached = cached_get.measure(2.0 if QUICK else 12.0)
        rows.append(ratio_row("cached GET", "requests/s", cached.cached_per_s, cached.baseline_per_s, 0.6))
        rows += visible.measure(scratch, seconds=4.0 if QUICK else 12.0)
        rows += (
            big_log.measure(scratch, count=50_000, clients=50) if QUICK else big_log.measure(scratch, count=10_000_000)
        )
    print_rows(rows)
    results = {"at": datetime.now(UTC), "quick": QUICK, "rows": rows}
    Path(__file__).with_name("results.json").write_bytes(msgspec.json.format(msgspec.json.encode(results)))
    if not QUICK and not all(row.reached for row in rows):
        sys.exit(1)


def _live_fold(scratch: Path) -> list[Row]:
    records = list(live_fold.events(30_000 if QUICK else 300_000))
    session = live_fold.Profiled(scratch / "fold.duckdb")
    rate = len(records) / live_fold.run(records, 1_000, session).seconds
    session.close()
    rows = [Row("live fold, batches of 1,000", "events/s", rate, "≥ 40,000", rate >= 40_000)]
    for name, spent in live_fold.costs(session.seconds).items():
        rows.append(Row(f"of it {name}", "us/event", spent / len(records) * 1e6, "told", True))
    return rows


if __name__ == "__main__":
    main()
