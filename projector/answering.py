"""`GET /internal/v1/generations`: what a projector answers from, told to commands that cannot open its files.

What may not live here: anything a consumer may see.
"""

from __future__ import annotations

import duckdb
import msgspec
from aiohttp import web
from msgspec import Struct

from projector.database import generation_of
from projector.digest import digest
from projector.recipes import versions_of
from projector.run import Projector
from streamkit.health import bears

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


def add_generations_route(app: web.Application, projector: Projector, token: str) -> None:
    """Add the path; it asks for `token` as bearer. `?digests=1`: with digests, which take a second by the million events."""

    async def generations(request: web.Request) -> web.Response:
        if not bears(request, token):
            return web.json_response({"error": "unauthorized"}, status=401)
        told = await _tell(projector, digests=request.query.get("digests") == "1")
        return web.Response(body=msgspec.json.encode(told), content_type="application/json")

    app.router.add_get(PATH, generations)


async def _tell(projector: Projector, *, digests: bool) -> Told:
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
