"""`/healthz`, `/readyz` and `/metrics`: alive, ready and why not, and the numbers.

What may not live here: any judgement of what ready means; a room tells its own reasons.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from datetime import datetime

import msgspec
from aiohttp import web
from msgspec import UNSET, Struct, UnsetType
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from streamkit.telemetry import REGISTRY


class PartitionLag(Struct, frozen=True):
    """Of one partition: the next position to fold, the log's end, events between them, the age in seconds of the oldest of
    those (0.0 when there is none), the generation that answers, the bytes of its file, and when the newest snapshot to
    restore it from was made (None: not known)."""

    position: int
    end: int
    lag_events: int
    lag_s: float
    generation: int
    file_bytes: int
    snapshot_made_at: datetime | None = None


class Progress(Struct, frozen=True):
    """How far a projector is: next position and log end by partition, `lag_s` the age of the oldest unfolded event; and
    each partition."""

    positions: dict[str, int]
    ends: dict[str, int]
    lag_events: int
    lag_s: float
    partitions: dict[str, PartitionLag]


class Spooled(Struct, frozen=True):
    """What waits for the log in this process's spool, and since when the oldest of it does (0.0 when there is none)."""

    events: int
    bytes: int
    oldest_s: float


class Readiness(Struct, frozen=True):
    """What a process can do now. `serving` False answers 503; `reasons` say in a sentence each what is degraded."""

    reasons: tuple[str, ...] = ()
    serving: bool = True
    progress: Progress | None = None
    spool: Spooled | None = None


class _Details(Struct, frozen=True):
    status: str
    rooms: tuple[str, ...] | UnsetType = UNSET
    log_id: str | UnsetType = UNSET
    reasons: tuple[str, ...] | UnsetType = UNSET
    positions: dict[str, int] | UnsetType = UNSET
    ends: dict[str, int] | UnsetType = UNSET
    lag_events: int | UnsetType = UNSET
    lag_s: float | UnsetType = UNSET
    spool: Spooled | UnsetType = UNSET
    partitions: dict[str, PartitionLag] | UnsetType = UNSET


Ready = Callable[[], Awaitable[Readiness]]


def add_health_routes(app: web.Application, *, ready: Ready, token: str, rooms: tuple[str, ...], log_id: str) -> None:
    """Add the three paths. Without `token` as bearer, `/readyz` tells the status alone and `/metrics` is 401.

    `rooms` and `log_id`, which log they work on, are named in the details.
    """

    async def healthz(_request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def readyz(request: web.Request) -> web.Response:
        readiness = await ready()
        details = _describe(readiness, rooms, log_id) if bears(request, token) else _Details(_status(readiness))
        return web.Response(
            status=200 if readiness.serving else 503,
            body=msgspec.json.encode(details),
            content_type="application/json",
            headers={"Cache-Control": "no-store"},
        )

    async def metrics(request: web.Request) -> web.Response:
        if not bears(request, token):
            return web.json_response(
                {"error": "unauthorized", "message": "Send the internal token: Authorization: Bearer TOKEN."},
                status=401,
                headers={"WWW-Authenticate": "Bearer"},
            )
        await ready()  # brings the gauges of lag up to now
        return web.Response(body=generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)


def _describe(readiness: Readiness, rooms: tuple[str, ...], log_id: str) -> _Details:
    progress = readiness.progress
    spool = UNSET if readiness.spool is None else readiness.spool
    if progress is None:
        return _Details(_status(readiness), rooms, log_id, readiness.reasons, spool=spool)
    return _Details(
        _status(readiness),
        rooms,
        log_id,
        readiness.reasons,
        progress.positions,
        progress.ends,
        progress.lag_events,
        progress.lag_s,
        spool,
        progress.partitions,
    )


def _status(readiness: Readiness) -> str:
    if not readiness.serving:
        return "unavailable"
    return "degraded" if readiness.reasons else "ready"


def bears(request: web.Request, token: str) -> bool:
    """Whether the request carries `token` as bearer; compared in constant time."""
    given = request.headers.get("Authorization", "")
    return hmac.compare_digest(given.encode(errors="surrogateescape"), f"Bearer {token}".encode())
