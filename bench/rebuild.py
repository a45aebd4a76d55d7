"""How fast one process folds a whole log into an empty file: `python -m bench.rebuild [--events N]`.

A SQLite log is made, then folded as `streamkit rebuild` does. Beside it, from the same log in the same run, the baseline:
the same tables from the whole log at once, one SQL statement each, no dedupe, no position, no check of any record, with two
threads for DuckDB and all the memory it wants. Told are the events/s, also of each tenth, and the memory after each tenth.
`--profile` prints the time of every statement.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from itertools import islice
from pathlib import Path

import msgspec
from msgspec import Struct

from bench.live_fold import Profiled, events, print_profile
from bench.processes import cpu_s, resident_mib
from bench.report import Row, print_rows, ratio_row
from projector import staging
from projector.bulk import BATCH, fold_until
from projector.fold import Folded, used_in
from projector.session import Session
from schemas.read_models import READ_MODELS, SETTLED_EVERY
from streamkit.log.protocol import EVENTS, Record
from streamkit.log.sqlite import SqliteLog

CHUNK = 20_000
BASELINE_CHUNK = 100_000
_user = msgspec.json.Decoder(msgspec.defstruct("_User", [("user_id", int)]))


class Tenth(Struct, frozen=True):
    """After a tenth of the events: seconds since the start, resident memory."""

    seconds: float
    memory_mib: float


class Rebuilt(Struct, frozen=True):
    """A rebuild: events, seconds on the clock and of the processor, and how it went by tenths."""

    events: int
    seconds: float
    cpu_s: float
    tenths: list[Tenth]

    def rate(self, tenth: int) -> float:
        """Events a second in one tenth, from 0."""
        before = self.tenths[tenth - 1].seconds if tenth else 0.0
        return self.events / 10 / (self.tenths[tenth].seconds - before)


async def make_log(path: Path, count: int, *, partitions: int = 1) -> None:
    """A SQLite log with so many events."""
    log = await SqliteLog.open(path, partitions=partitions)
    records = events(count, viewers=50_000)
    while chunk := list(islice(records, CHUNK)):
        keyed = [Record(key=str(_user.decode(value).user_id), value=value) for value in chunk]  # type: ignore[attr-defined]
        await log.append(EVENTS, keyed)
    await log.close()


async def rebuild(path: Path, session: Session) -> Rebuilt:
    """Fold the whole log at `path` into the session's file."""
    log = await SqliteLog.open(path)
    (count,) = await log.ends(EVENTS)
    tenths: list[Tenth] = []
    cpu, began = cpu_s(os.getpid()), time.perf_counter()

    def told(folded: Folded) -> None:
        while folded.position >= count * (len(tenths) + 1) // 10 and len(tenths) < 10:
            tenths.append(Tenth(time.perf_counter() - began, resident_mib(os.getpid())))

    await fold_until(log, session, 0, until=count, progress=told, stop=asyncio.Event())
    session.close()
    seconds = time.perf_counter() - began
    await log.close()
    return Rebuilt(events=count, seconds=seconds, cpu_s=cpu_s(os.getpid()) - cpu, tenths=tenths)


async def at_once(path: Path, session: Session) -> tuple[float, float]:
    """The baseline: seconds on the clock and of the processor for the same tables from the whole log at once."""
    log = await SqliteLog.open(path)
    (count,) = await log.ends(EVENTS)
    session.execute("SET threads = 2")
    session.execute("RESET memory_limit")
    cpu, began = cpu_s(os.getpid()), time.perf_counter()
    position = 0
    session.execute("BEGIN")
    while position < count:
        batch = await log.read(EVENTS, 0, position, limit=BASELINE_CHUNK)
        texts = [value.decode() for value in batch.values]
        staging.append_recent(session, batch.positions, texts)
        position = batch.next_position
    session.execute_once("CREATE TEMP VIEW batch AS SELECT * FROM recent")
    known = {"from": 0, "to": count, "every": SETTLED_EVERY}
    for model in READ_MODELS:
        for fold in model.fold:
            session.execute(f"INSERT INTO {fold.into} SELECT * FROM ({fold.sql}) ORDER BY user_id, position")
        for sql in model.settle:
            session.execute(sql, used_in(sql, known))
    session.execute("TRUNCATE recent")
    session.execute("COMMIT")
    session.close()
    seconds = time.perf_counter() - began
    await log.close()
    return seconds, cpu_s(os.getpid()) - cpu


def measure(scratch: Path, *, count: int, log: Path | None = None, profile: bool = False) -> list[Row]:
    """The rows of a rebuild of `count` events, or of the log given."""
    if log is None:
        log = scratch / "log.sqlite"
        asyncio.run(make_log(log, count))
    session = Profiled(scratch / "rebuilt.duckdb")
    done = asyncio.run(rebuild(log, session))
    if profile:
        print_profile(session.seconds, done.events / 100_000, done.events)
        for tenth in range(10):
            print(f"  tenth {tenth + 1:2}: {done.rate(tenth):9,.0f} events/s, {done.tenths[tenth].memory_mib:6.0f} MiB")
    baseline, baseline_cpu_s = asyncio.run(at_once(log, Profiled(scratch / "at-once.duckdb")))
    rate, at = done.events / done.seconds, f"of {done.events:,} events"
    rows = [
        Row(f"rebuild {at}", "events/s", rate, "≥ 100,000", rate >= 100_000),
        ratio_row(f"rebuild {at}", "events/s", rate, done.events / baseline, 0.7),
        Row(
            "processor time of it",
            "us/event",
            done.cpu_s / done.events * 1e6,
            "told",
            True,
            baseline_cpu_s / done.events * 1e6,
            round(done.cpu_s / baseline_cpu_s, 3),
        ),
        Row("memory after it", "MiB", done.tenths[9].memory_mib, "told", True),
    ]
    if done.events >= 20 * BATCH:  # a tenth of fewer is a batch or none
        growth = (done.tenths[9].memory_mib - done.tenths[1].memory_mib) / (0.8 * done.events) * (1 << 20)
        rows += [
            ratio_row("its last tenth beside the first", "events/s", done.rate(9), done.rate(0), 0.9),
            Row("memory of it since the second tenth", "B/event", growth, "≤ 4", growth <= 4),
        ]
    return rows


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--log", type=Path, help="a SQLite log that is there, instead of a new one")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print_rows(measure(Path(folder), count=options.events, log=options.log, profile=options.profile))


if __name__ == "__main__":
    main()
