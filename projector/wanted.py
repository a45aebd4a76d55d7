"""Snapshots that somebody asked for: `snapshot.wanted` on the control topic, answered by every projector for what it owns.

What may not live here: who asks, and what for.
"""

from __future__ import annotations

import asyncio
import re
from functools import partial
from pathlib import Path

from projector.database import generation_of
from projector.run import Projector
from projector.snapshots import SnapshotFailed, folder_of, write_snapshot
from schemas.control import SnapshotWanted
from schemas.event import utc_now
from streamkit import telemetry
from streamkit.log.shares import Tenure

STALE_S = 60.0
"""Whoever asked so long ago has gone."""

_AN_ID = re.compile(r"[0-9a-z]{1,64}")


class Wanted:
    """Writes them into `snapshot_dir`, one partition after the other."""

    def __init__(self, projector: Projector, snapshot_dir: Path, tenure: Tenure) -> None:
        self._projector = projector
        self._tenure = tenure
        self._snapshot_dir = snapshot_dir
        self._tasks: set[asyncio.Task[None]] = set()

    async def on_wanted(self, event: SnapshotWanted, is_past: bool) -> None:
        """A handler of `Commands`. Returns at once; the snapshots are written meanwhile."""
        gone = is_past and (utc_now() - event.at).total_seconds() > STALE_S
        if gone or _AN_ID.fullmatch(event.snapshot) is None:
            return
        task = asyncio.create_task(self._write(event.snapshot), name="snapshots")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write(self, wanted: str) -> None:
        for partition, file in self._projector.served().items():
            folder = folder_of(self._snapshot_dir, self._projector.log_id, generation_of(file.path))
            try:
                work = partial(
                    write_snapshot,
                    folder=folder,
                    epoch=self._tenure.epoch_of(partition) or 0,
                    wanted=wanted,
                    may_publish=partial(self._tenure.holds_strictly, partition),
                )
                snapshot = await file.beside(work)
            except SnapshotFailed as error:
                telemetry.error("snapshot_failed", partition=partition, reason=str(error))
            except Exception as error:  # the file was closed in this moment: whoever has it now writes one
                telemetry.warn("snapshot_failed", partition=partition, reason=type(error).__name__)
            else:
                telemetry.info(
                    "snapshot_written", partition=partition, position=snapshot.position, bytes=snapshot.bytes
                )

    async def close(self) -> None:
        """Begin none any more; idempotent. One that is being written is cut short when its file is closed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
