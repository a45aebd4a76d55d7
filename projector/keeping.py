"""Snapshots in time: each owner copies what it folds into the shared folder, so that another can go on from there.

A new owner reads the log on from the newest snapshot, so what matters is how many events may lie behind it, and that
the copies take little of the disk's and the processor's time. docs/decisions has the figures.
What may not live here: how a snapshot is made.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import duckdb
from msgspec import Struct

from projector.database import Database, generation_of
from projector.run import Projector
from projector.snapshots import SnapshotFailed, folder_of, prune, snapshots_of, write_snapshot
from streamkit import telemetry
from streamkit.log.shares import Tenure

EVERY_EVENTS = 200_000
EVERY_S = 60.0
AT_MOST_A_PART = 20
"""However many events come: after a copy that took a second there is none for this many seconds."""
KEPT = 3
LOOK_S = 1.0


class _Last(Struct):
    """The newest snapshot of a partition that is known here: when the next may come is counted from `at_s`."""

    position: int
    at_s: float
    took_s: float = 0.0


class Keeper:
    """Keeps snapshots of what `projector` owns in `snapshot_dir`, one partition after the other."""

    def __init__(
        self,
        projector: Projector,
        snapshot_dir: Path,
        tenure: Tenure,
        *,
        every_events: int = EVERY_EVENTS,
        every_s: float = EVERY_S,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._projector = projector
        self._snapshot_dir = snapshot_dir
        self._tenure = tenure
        self._every_events = every_events
        self._every_s = every_s
        self._now_s = now_s
        self._last: dict[Path, _Last] = {}

    async def run(self) -> None:
        """Look every second until cancelled. Does not raise."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Write the snapshots that are due."""
        served = self._projector.served()
        for path in self._last.keys() - {file.path for file in served.values()}:
            del self._last[path]
        for partition, file in served.items():
            position = self._projector.positions().get(partition)
            if position is None or not self._tenure.holds_strictly(partition):
                continue
            last = self._last.get(file.path)
            if last is None:  # just taken; what others have made of it counts
                folder = self._folder(file)
                there = await asyncio.to_thread(snapshots_of, folder, partition)
                newest = max((one.position for one in there), default=0)
                self._last[file.path] = _Last(newest, self._now_s())
                if there:
                    self._projector.note_snapshot(file.path, max(one.made_at for one in there))
            elif self._is_due(last, position):
                await self._write(partition, file, last)

    def _is_due(self, last: _Last, position: int) -> bool:
        moved, past_s = position - last.position, self._now_s() - last.at_s
        if moved <= 0 or past_s < AT_MOST_A_PART * last.took_s:
            return False
        return moved >= self._every_events or past_s >= self._every_s

    async def _write(self, partition: int, file: Database, last: _Last) -> None:
        folder, began_s = self._folder(file), self._now_s()
        work = partial(
            write_snapshot,
            folder=folder,
            epoch=self._tenure.epoch_of(partition) or 0,
            may_publish=partial(self._tenure.holds_strictly, partition),
        )
        try:
            snapshot = await file.beside(work)
            await asyncio.to_thread(prune, folder, partition, keep=KEPT)
        except (SnapshotFailed, OSError, duckdb.Error, RuntimeError) as error:  # the last two: closed in this moment
            telemetry.error("snapshot_failed", partition=partition, reason=str(error) or type(error).__name__)
            last.at_s = self._now_s()
            return
        self._projector.note_snapshot(file.path, snapshot.made_at)
        ended_s = self._now_s()
        self._last[file.path] = _Last(snapshot.position, ended_s, ended_s - began_s)
        telemetry.info(
            "snapshot_written",
            partition=partition,
            position=snapshot.position,
            bytes=snapshot.bytes,
            took_s=round(ended_s - began_s, 3),
        )

    def _folder(self, file: Database) -> Path:
        return folder_of(self._snapshot_dir, self._projector.log_id, generation_of(file.path))
