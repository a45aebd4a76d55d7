"""The projector: which partitions are folded and answered here, and from which file each.

A `Projector` owns the files of its partitions and answers the named queries on them. Partitions are taken and
released while it runs, and a partition's file can be switched for another. What may not live here: SQL, the loop of one
partition (partition.py).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from projector.database import Database, file_of
from projector.fold import Folded
from projector.lag import Lag, LagMeter
from projector.partition import PartitionFold
from projector.poison import PartitionStopped
from projector.reads import Reads
from schemas.errors import Retry
from streamkit import telemetry
from streamkit.generations import FIRST
from streamkit.log.protocol import EVENTS, EventLog
from streamkit.reads import Change

if TYPE_CHECKING:
    from projector.generations import Succession


class Projector:
    """Folds partitions into files under `data_dir` and answers from them. `partitions` are those taken at the start
    (None: all). `succession` says which generation that is, and moves them to another; None: it is the first, for good."""

    def __init__(
        self,
        log: EventLog,
        data_dir: Path,
        *,
        partitions: Sequence[int] | None = None,
        succession: Succession | None = None,
    ) -> None:
        self._log = log
        self._data_dir = data_dir
        self._at_start = range(log.partitions(EVENTS)) if partitions is None else partitions
        self._callbacks: list[Callable[[Change], None]] = []
        self._folds: dict[int, PartitionFold] = {}
        self._meter = LagMeter(log)
        self._succession = succession
        if succession is not None:
            succession.attach(self)
        self.reads = Reads(partitions=log.partitions(EVENTS), on_change=self.on_change)

    async def start(self) -> None:
        """Take the partitions that are owned from the start. Raises FileInUse when another process holds a file."""
        for partition in self._at_start:
            await self.take(partition)

    async def take(self, partition: int, *, catch_up_s: float = 0.0) -> None:
        """Own the partition: open its file, answer from it and go on folding. Raises FileInUse.

        With `catch_up_s`, answer only once the file has what the log has now, or after so many seconds: whoever owned
        the partition before has answered from there, and numbers that go back are worse than a wait.
        """
        assert partition not in self._folds, f"partition {partition} is owned already"
        generation = FIRST if self._succession is None else await self._succession.begins_in(partition)
        one = PartitionFold(self._log, self.new_file(generation, partition), moved=None)
        try:
            await one.open()
            one.start()
            if catch_up_s:
                await self._catch_up(one, catch_up_s)
        except BaseException:
            await one.close()
            raise
        one.moved = self._moved(partition)
        self._folds[partition] = one
        self._answer_from(one)
        if self._succession is not None:
            await self._succession.taken(partition)

    async def _catch_up(self, one: PartitionFold, within_s: float) -> None:
        with contextlib.suppress(TimeoutError, Retry, PartitionStopped):  # then it answers what it has
            async with asyncio.timeout(within_s):
                await one.reach((await self._log.ends(EVENTS))[one.partition])

    async def release(self, partition: int) -> None:
        """Own the partition no more: whoever waits for it gets Retry, its file is closed. Idempotent."""
        if self._succession is not None:
            await self._succession.released(partition)
        one = self._folds.pop(partition, None)
        self.reads.forget(partition)
        if one is not None:
            await one.close()

    async def switch(self, partition: int, other: PartitionFold) -> None:
        """Answer from `other` from now on, which has been folding beside; its file is of another generation.

        The old file goes on answering until the new one has reached its position; then every question that begins
        goes to the new one, and the old file is closed when its questions have ended. When `other` cannot get there
        (it stopped for good) the old one goes on, and PartitionStopped says why.
        """
        old = self._folds[partition]
        try:
            await old.stop()
            await other.reach(old.position)
        except BaseException:
            await old.stop()  # when it was this wait that was cancelled, its batch may not be at its end
            old.start()
            raise
        other.moved, other.parks = old.moved, True
        self._folds[partition] = other
        self._answer_from(other)
        await old.close()

    def new_file(self, generation: int, partition: int) -> Database:
        """The file, not yet open, of a partition in a generation."""
        return Database(self.path_of(generation, partition), log_id=self._log.log_id, partition=partition)

    def path_of(self, generation: int, partition: int) -> Path:
        """Where that file lies, or will lie."""
        return file_of(self._data_dir, generation, partition)

    async def close(self) -> None:
        """Stop folding, let the batches under way finish, release the files; idempotent."""
        if self._succession is not None:
            await self._succession.close()
        self.reads.close()
        folds, self._folds = list(self._folds.values()), {}
        await asyncio.gather(*(one.close() for one in folds))

    def on_change(self, callback: Callable[[Change], None]) -> None:
        """Call `callback` on the event loop after each commit; it must not block."""
        self._callbacks.append(callback)

    def positions(self) -> dict[int, int]:
        """The next position to fold, per partition owned."""
        return {partition: one.position for partition, one in self._folds.items()}

    def served(self) -> dict[int, Database]:
        """The file that answers, per partition owned."""
        return {partition: one.file for partition, one in self._folds.items()}

    @property
    def live(self) -> int:
        """The live generation."""
        return FIRST if self._succession is None else self._succession.generations.live

    @property
    def log_id(self) -> str:
        """The log's id, which the files name."""
        return self._log.log_id

    @property
    def partitions(self) -> int:
        """How many partitions the events topic has, owned here or not."""
        return self._log.partitions(EVENTS)

    @property
    def stopped(self) -> str | None:
        """Why a partition stopped for good, or cannot go on at the moment, as a sentence for operators; None while all
        go on."""
        reasons = [one.stopped for one in self._folds.values()] + [one.waits for one in self._folds.values()]
        return next((reason for reason in reasons if reason), None)

    def note_snapshot(self, file: Path, made_at: datetime) -> None:
        """There is a snapshot of the file to restore from, the newest."""
        self._meter.snapshots[file] = made_at

    async def lag(self) -> Lag:
        """Where the files are beside the log's ends. Raises LogUnavailable, LogClosed."""
        return await self._meter.measure(self._folds)

    def _moved(self, partition: int) -> Callable[[Folded], None]:
        return partial(self._told, partition, str(partition))

    def _told(self, partition: int, label: str, folded: Folded) -> None:
        telemetry.FOLDED_EVENTS.labels(label).inc(folded.records)
        telemetry.FOLDED_DUPLICATES.labels(label).inc(folded.duplicates)
        telemetry.FOLD_POSITION.labels(label).set(folded.position)
        self._announce(Change(partition=partition, position=folded.position, user_ids=folded.user_ids))

    def _answer_from(self, one: PartitionFold) -> None:
        self.reads.serve(one.partition, one.file)
        self._announce(Change(partition=one.partition, position=one.position, user_ids=None))

    def _announce(self, change: Change) -> None:
        self.reads.moved(change)
        for callback in self._callbacks:
            callback(change)
