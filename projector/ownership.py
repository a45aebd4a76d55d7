"""Which partitions this projector folds, as its group shares them out: taken from the newest snapshot, released at once.

What may not live here: how the group agrees (streamkit/log/kafka_group.py).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import duckdb

from projector.restoring import restore_newest
from projector.run import Projector
from projector.snapshots import folder_of
from streamkit import telemetry
from streamkit.log.shares import Share

AGAIN_S = 5.0
CATCH_UP_S = 8.0
"""So long is folded before a partition that was restored answers at the latest: it is to be fresh 10 s after it moved."""


class Ownership:
    """Follows the shares of a group. `ready` returns when it is known which generation is live; `taken` is called on the
    event loop when a partition has begun to be folded."""

    def __init__(
        self,
        projector: Projector,
        snapshot_dir: Path,
        *,
        ready: Callable[[], Awaitable[None]],
        taken: Callable[[], None],
    ) -> None:
        self._projector = projector
        self._snapshot_dir = snapshot_dir
        self._ready = ready
        self._taken = taken
        self._share = Share()
        self._changed = asyncio.Event()
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    def shared(self, share: Share) -> None:
        """The group has been shared out anew; does not block."""
        self._share = share
        self._changed.set()

    def readiness(self) -> list[str]:
        """What is not as it should be, a sentence each."""
        if self._share.epoch < 0:
            return ["This projector is not in its group yet: it owns no partition until Kafka has shared them out."]
        missing = sorted(self._share.partitions - self._projector.positions().keys())
        if missing:
            return [f"Partition {', '.join(map(str, missing))} is being restored or opened."]
        return []

    async def run(self) -> None:
        """Take and release until cancelled; each partition by itself, so that one that is restored holds up no other.
        Raises FileInUse."""
        await self._ready()
        async with asyncio.TaskGroup() as group:
            while True:
                await self._changed.wait()
                self._changed.clear()
                for partition in self._share.partitions ^ self._projector.positions().keys():
                    group.create_task(self._settle(partition), name=f"own {partition}")

    async def _settle(self, partition: int) -> None:
        """Until what is owned and what is folded agree. A share that changes meanwhile has a task of its own."""
        async with self._locks[partition]:
            while (partition in self._share.partitions) != (partition in self._projector.positions()):
                if partition not in self._share.partitions:
                    await self._projector.release(partition)
                    telemetry.info("partition_released", partition=partition)
                    continue
                try:
                    await self._take(partition)
                except (OSError, duckdb.Error) as error:  # no room, most likely
                    telemetry.error("partition_not_taken", partition=partition, reason=type(error).__name__)
                    await asyncio.sleep(AGAIN_S)

    async def _take(self, partition: int) -> None:
        projector, began_s = self._projector, asyncio.get_running_loop().time()
        folder = folder_of(self._snapshot_dir, projector.log_id, projector.live)
        path = projector.path_of(projector.live, partition)
        await asyncio.to_thread(partial(restore_newest, folder, projector.log_id, partition, path))
        if partition not in self._share.partitions:
            return
        await projector.take(partition, catch_up_s=CATCH_UP_S)
        took_s = asyncio.get_running_loop().time() - began_s
        position = projector.positions()[partition]
        telemetry.info("partition_taken", partition=partition, position=position, took_s=round(took_s, 3))
        self._taken()
