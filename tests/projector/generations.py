"""A projector that follows the control topic, and what the tests of generations do to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import structs

from projector.commands import Commands
from projector.database import file_of, generation_of, open_file
from projector.digest import digest
from projector.fold import fold, read_position
from projector.generations import Succession
from projector.run import Projector
from projector.shelf import Shelf
from schemas.control import (
    ControlEvent,
    GenerationDropped,
    GenerationPromoted,
    GenerationStarted,
    encode_control,
)
from schemas.event import Event, encode_event, utc_now
from schemas.read_models import READ_MODELS, ReadModel
from streamkit.log.protocol import CONTROL, EVENTS, EventLog, Record
from tests.projector.events import USER

DEADLINE_S = 20.0

OLDER: tuple[ReadModel, ...] = tuple(
    structs.replace(model, version=model.version - 1) if model.name == "kicks" else model for model in READ_MODELS
)
"""What a build before this one folded by."""


async def tell(log: EventLog, *events: ControlEvent) -> None:
    """As commands do."""
    await log.append(CONTROL, [Record("generations", encode_control(event)) for event in events])


def started(generation: int, models: Sequence[ReadModel] = READ_MODELS) -> GenerationStarted:
    versions = {model.name: model.version for model in models}
    return GenerationStarted(at=utc_now(), by="ann", generation=generation, versions=versions)


def promoted(generation: int) -> GenerationPromoted:
    return GenerationPromoted(at=utc_now(), by="ann", generation=generation)


def dropped(generation: int) -> GenerationDropped:
    return GenerationDropped(at=utc_now(), by="ann", generation=generation)


async def put(log: EventLog, events: Sequence[Event], user_id: int = USER) -> int:
    """Append; the position right after the last."""
    appended = await log.append(EVENTS, [Record(key=str(user_id), value=encode_event(one)) for one in events])
    return appended[-1].position


async def made(
    log: EventLog,
    folder: Path,
    generation: int,
    *,
    partition: int = 0,
    until: int | None = None,
    models: Sequence[ReadModel] = READ_MODELS,
) -> Path:
    """A file of a generation, folded up to a position (None: to the end)."""
    end = (await log.ends(EVENTS))[partition] if until is None else until
    path = file_of(folder, generation, partition)
    session = open_file(path, log_id=log.log_id, partition=partition, models=models)
    if end:
        batch = await log.read(EVENTS, partition, 0, limit=end)
        fold(session, 0, batch.positions, batch.values, end, models)
    session.close()
    return path


def contents(path: Path, log_id: str) -> tuple[int, str]:
    """Position and digest of a file that nobody has open."""
    session = open_file(path, log_id=log_id, partition=int(path.stem.removeprefix("partition-")))
    try:
        return read_position(session), digest(session).text
    finally:
        session.close()


@asynccontextmanager
async def running(log: EventLog, folder: Path) -> AsyncIterator[tuple[Projector, Succession]]:
    """A projector of all partitions, started and stopped."""
    commands = Commands(log)
    succession = Succession(log, Shelf(folder, folder / "snapshots", log.log_id), commands.ready)
    commands.on(GenerationStarted, succession.on_started)
    commands.on(GenerationPromoted, succession.on_promoted)
    commands.on(GenerationDropped, succession.on_dropped)
    projector = Projector(log, folder, succession=succession)
    following = asyncio.create_task(commands.follow())
    try:
        await projector.start()
        await succession.sweep()
        yield projector, succession
    finally:
        following.cancel()
        await asyncio.wait([following])
        await projector.close()


def generation(projector: Projector, partition: int = 0) -> int:
    """From which the partition is answered."""
    return generation_of(projector.served()[partition].path)


async def answered_from(projector: Projector, wanted: int, partition: int = 0) -> None:
    """Wait until it is; fails the test when it does not come to be."""
    async with asyncio.timeout(DEADLINE_S):
        while generation(projector, partition) != wanted:
            await asyncio.sleep(0.005)
