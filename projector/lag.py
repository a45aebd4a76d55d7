"""How far behind the log the read models are, in events and in seconds, and what they take.

What may not live here: what is done about it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from msgspec import Struct

from projector.database import generation_of, size_of
from projector.partition import PartitionFold
from schemas.errors import LogUnavailable, Retry
from schemas.event import received_at, utc_now
from streamkit import telemetry
from streamkit.health import PartitionLag
from streamkit.log.protocol import EVENTS, EventLog

_GAUGES = (
    telemetry.FOLD_LAG_EVENTS,
    telemetry.FOLD_LAG_SECONDS,
    telemetry.READ_MODEL_BYTES,
    telemetry.SNAPSHOT_MADE_AT,
    telemetry.GENERATION,
    telemetry.FOLD_POSITION,
)


ENDS_S = 1.0
"""So long the log is waited for; whoever looks (a probe, a scrape) does not wait long either."""


_LOOKED_AT = 100
"""Records in which the first that says when it came is looked for: a partition may stand before ones that do not."""


class Lag(Struct, frozen=True):
    """Of the partitions owned here, each and in all. `unsure`: why the ends are those last known, None when they are not."""

    partitions: dict[int, PartitionLag]
    unsure: str | None = None

    @property
    def lag_events(self) -> int:
        """Events not folded, in all."""
        return sum(one.lag_events for one in self.partitions.values())

    @property
    def lag_s(self) -> float:
        """The age in seconds of the oldest event that is not folded; 0.0 when there is none."""
        return max((one.lag_s for one in self.partitions.values()), default=0.0)


class LagMeter:
    """Measures; asks the log for the oldest event of a partition once while the partition stands still."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._ends: tuple[int, ...] | None = None
        self._oldest: dict[int, tuple[int, datetime | None]] = {}
        self.snapshots: dict[Path, datetime] = {}
        """When the newest snapshot of a file was made."""
        self._told: set[int] = set()

    async def measure(self, folds: Mapping[int, PartitionFold]) -> Lag:
        """Where these partitions are, told to the metrics besides. While the log is away, by the ends it last told.

        Raises LogUnavailable when it never told them, LogClosed.
        """
        ends, unsure = await self._ends_of_log()
        each = {
            partition: await self._of(one, ends[partition], asks=unsure is None)
            for partition, one in dict(folds).items()
        }
        lag = Lag(each, unsure)
        for partition in self._told - lag.partitions.keys():
            self._forget(partition)
        self._told = set(lag.partitions)
        for partition, one in lag.partitions.items():
            telemetry.FOLD_LAG_EVENTS.labels(str(partition)).set(one.lag_events)
            telemetry.FOLD_LAG_SECONDS.labels(str(partition)).set(one.lag_s)
            telemetry.READ_MODEL_BYTES.labels(str(partition)).set(one.file_bytes)
            if one.snapshot_made_at is not None:
                telemetry.SNAPSHOT_MADE_AT.labels(str(partition)).set(one.snapshot_made_at.timestamp())
        return lag

    async def _ends_of_log(self) -> tuple[tuple[int, ...], str | None]:
        try:
            async with asyncio.timeout(ENDS_S):
                self._ends = await self._log.ends(EVENTS)
                return self._ends, None
        except (LogUnavailable, TimeoutError) as away:
            why = str(away) or f"The event log did not answer within {ENDS_S:g} s: check that it runs."
            if self._ends is None:
                raise LogUnavailable(why) from away
            return self._ends, why

    def _forget(self, partition: int) -> None:
        """Whoever owns the partition now tells of it; what was true here would be told for ever."""
        self._oldest.pop(partition, None)
        for gauge in _GAUGES:
            with contextlib.suppress(KeyError):
                gauge.remove(str(partition))

    async def _of(self, one: PartitionFold, end: int, *, asks: bool) -> PartitionLag:
        position = one.position
        behind = max(0, end - position)
        oldest_at = await self._oldest_at(one, position, asks=asks) if behind else None
        path = one.file.path
        return PartitionLag(
            position=position,
            end=end,
            lag_events=behind,
            lag_s=0.0 if oldest_at is None else max(0.0, (utc_now() - oldest_at).total_seconds()),
            generation=generation_of(path),
            file_bytes=sum(size_of(file) for file in (path, path.with_name(f"{path.name}.wal"))),
            snapshot_made_at=self.snapshots.get(path),
        )

    async def _oldest_at(self, one: PartitionFold, position: int, *, asks: bool) -> datetime | None:
        """When the event at the position was received; None when it is not known and the log does not tell, or is not asked."""
        if one.oldest_at is not None:
            return one.oldest_at
        known = self._oldest.get(one.partition)
        if known is not None and known[0] == position:
            return known[1]
        if not asks:
            return None
        try:
            batch = await self._log.read(EVENTS, one.partition, position, limit=_LOOKED_AT)
        except Retry:
            return None
        found = next((at for at in map(received_at, batch.values) if at is not None), None)
        self._oldest[one.partition] = position, found
        return found
