"""Which generation each partition is answered from here, and how it changes over to another without a failed request.

One event says which generation is live; each partition goes over when its new file has reached the position of the one that
answers. What may not live here: how a new generation is made (rebuild.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

import duckdb

from projector.database import FileInUse, generation_of
from projector.partition import PartitionFold
from projector.poison import PartitionStopped
from projector.recipes import versions_of
from projector.restoring import position_of, restore_newest
from projector.shelf import Shelf
from schemas.control import GenerationDropped, GenerationPromoted, GenerationStarted
from schemas.errors import StreamkitError
from schemas.read_models import READ_MODELS
from streamkit import telemetry
from streamkit.generations import FIRST, Generations
from streamkit.log.protocol import EventLog

if TYPE_CHECKING:
    from projector.run import Projector

AGAIN_S = 2.0
"""After a file that could not be opened, or a fold that stopped."""


class CannotFold(StreamkitError):
    """The generation is of read models that this build does not have, and neither file nor snapshot of it is here."""


class Succession:
    """Moves the partitions of a projector to the live generation, one at a time. `attach` comes before anything else; the
    `on_…` methods are handlers of `Commands`, whose `ready` says that they have seen the past."""

    def __init__(self, log: EventLog, shelf: Shelf, ready: Callable[[], Awaitable[None]]) -> None:
        self.generations = Generations()
        self._log = log
        self._shelf = shelf
        self._ready = ready
        self._projector: Projector | None = None
        self._moves: dict[int, tuple[int, asyncio.Task[None]]] = {}
        self._one_move = asyncio.Lock()
        self._reasons: dict[int, str] = {}

    def attach(self, projector: Projector) -> None:
        """It is this projector's partitions that are moved."""
        self._projector = projector

    @property
    def projector(self) -> Projector:
        """Whose partitions are moved."""
        assert self._projector is not None, "attach() comes first"
        return self._projector

    def readiness(self) -> list[str]:
        """Why partitions are not on the live generation, a sentence each."""
        return list(self._reasons.values())

    async def begins_in(self, partition: int) -> int:
        """The generation in which a partition that is taken is answered first: the live one, or, when that was promoted
        while nobody was here, the one before it, until the live one has come as far."""
        await self._ready()
        served = self._shelf.served(partition) or FIRST
        if served == self.generations.live or self.generations.find(served) is None:
            return self.generations.live
        return await asyncio.to_thread(self._further, partition, served, self.generations.live)

    def _further(self, partition: int, served: int, live: int) -> int:
        if not self._shelf.path(served, partition).exists():
            return live
        if not self._shelf.path(live, partition).exists():
            return served
        return live if self._position(live, partition) >= self._position(served, partition) else served

    def _position(self, generation: int, partition: int) -> int:
        try:
            return position_of(self._shelf.path(generation, partition), self._log.log_id, partition)
        except FileInUse:
            return -1

    async def taken(self, partition: int) -> None:
        """The partition has begun to be folded and answered: it is moved on when it is not on the live generation."""
        await self._note(partition)
        self._move_on()

    async def released(self, partition: int) -> None:
        """The partition is about to be given up: it is not moved any more. Idempotent."""
        _, move = self._moves.pop(partition, (0, None))
        if move is not None:
            move.cancel()
            await asyncio.wait([move])
        self._reasons.pop(partition, None)

    async def close(self) -> None:
        """Move nothing any more; idempotent."""
        for partition in list(self._moves):
            await self.released(partition)

    async def on_started(self, event: GenerationStarted, is_past: bool) -> None:
        """A number is taken."""
        self.generations.apply(event)

    async def on_promoted(self, event: GenerationPromoted, is_past: bool) -> None:
        """Another generation is live. Returns at once; the partitions are moved meanwhile."""
        if self.generations.apply(event) and not is_past:
            telemetry.info("generation_promoted", generation=event.generation, by=event.by)
            for partition, (target, _) in list(self._moves.items()):
                if target != self.generations.live:
                    await self.released(partition)
            self._move_on()

    async def on_dropped(self, event: GenerationDropped, is_past: bool) -> None:
        """A generation is not needed any more."""
        if self.generations.apply(event) and not is_past:
            await self.sweep()

    async def sweep(self) -> None:
        """Delete what was dropped and is answered from no more."""
        await self._ready()
        used = {generation_of(file.path) for file in self.projector.served().values()}
        used |= {target for target, _ in self._moves.values()}
        for generation in self.generations.dropped - used:
            await asyncio.to_thread(self._shelf.delete, generation)

    def _move_on(self) -> None:
        live = self.generations.live
        for partition, file in self.projector.served().items():
            if generation_of(file.path) != live and partition not in self._moves:
                move = asyncio.create_task(self._move(partition, live), name=f"generation of {partition}")
                self._moves[partition] = live, move

    async def _move(self, partition: int, live: int) -> None:
        """Try until the partition is answered from `live`, or this is cancelled."""
        while True:
            try:
                async with self._one_move:
                    await self._change(partition, live)
            except (StreamkitError, PartitionStopped, OSError, duckdb.Error) as error:
                self._cannot(partition, live, str(error) if isinstance(error, StreamkitError) else type(error).__name__)
                await asyncio.sleep(AGAIN_S)
            else:
                break
        self._moves.pop(partition, None)
        self._reasons.pop(partition, None)
        telemetry.info("generation_changed", partition=partition, generation=live)
        await self._note(partition)
        await self.sweep()

    def _cannot(self, partition: int, live: int, why: str) -> None:
        reason = f"Partition {partition} is not answered from generation {live} yet: {why}"
        if self._reasons.get(partition) != reason:
            telemetry.error("generation_not_changed", partition=partition, generation=live, reason=why)
        self._reasons[partition] = reason

    async def _change(self, partition: int, live: int) -> None:
        """Bring the new file to where the live one is, then answer from it."""
        await self._restore(partition, live)
        other = PartitionFold(self._log, self.projector.new_file(live, partition), moved=None, parks=False)
        try:
            await other.open()
            other.start()
            await other.reach(self.projector.positions()[partition])
            await self.projector.reads.rehearse(partition, other.file)
            await self.projector.switch(partition, other)
        finally:
            if self.projector.served().get(partition) is not other.file:
                await other.close()

    async def _restore(self, partition: int, live: int) -> None:
        """From a snapshot, when there is one and no file that is nearly as far; else the log is folded."""
        path, folder = self._shelf.path(live, partition), self._shelf.snapshots(live)
        await asyncio.to_thread(partial(restore_newest, folder, self._log.log_id, partition, path))
        generation = self.generations.find(live)
        versions = None if generation is None else generation.versions
        if not path.exists() and versions not in (None, versions_of(READ_MODELS)):
            raise CannotFold(
                "its read models are of other versions than this build's: start the build that made it here."
            )

    async def _note(self, partition: int) -> None:
        file = self.projector.served().get(partition)
        if file is not None:
            generation = generation_of(file.path)
            telemetry.GENERATION.labels(str(partition)).set(generation)
            try:
                await asyncio.to_thread(self._shelf.note_served, partition, generation)
            except OSError as error:  # a full disk: without the note the next start compares how far the files are
                telemetry.warn("generation_not_noted", partition=partition, reason=type(error).__name__)
