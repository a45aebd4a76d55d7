"""`GET /internal/v1/generations`: what a projector answers from, told to commands that cannot open its files.

What may not live here: anything a consumer may see.
"""

from __future__ import annotations

import duckdb
from msgspec import Struct

from projector.database import generation_of
from projector.digest import digest
from projector.recipes import versions_of
from projector.run import Projector

PATH = "/internal/v1/generations"


class Answering(Struct, frozen=True):
    """A partition's file. `digest` None: not asked for, or the file was closed meanwhile."""

    generation: int
    position: int
    versions: dict[str, int]
    digest: str | None = None


class Told(Struct, frozen=True):
    """Of which log, and by partition from what it is answered."""

    log_id: str
    partitions: dict[str, Answering]


async def tell(projector: Projector, *, digests: bool) -> Told:
    """As of now; digests take a second by the million events."""
    partitions = {}
    for partition, file in projector.served().items():
        text = None
        if digests:
            try:
                text = (await file.beside(digest)).text
            except (duckdb.Error, RuntimeError):  # closed in this moment
                text = None
        partitions[str(partition)] = Answering(
            generation_of(file.path), projector.positions().get(partition, 0), versions_of(file.models), text
        )
    return Told(projector.log_id, partitions)
