"""What `/readyz` tells of a process: its rooms' reasons, how far the folding is, what the spool holds, that a stop has begun.

What may not live here: any judgement of a room's; each tells its own reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Protocol

from schemas.errors import Retry
from streamkit.health import PartitionLag, Progress, Readiness, Spooled

BEHIND_S = 60.0
"""From this age of an unfolded event on, what is served is degraded."""


class _Lag(Protocol):
    @property
    def lag_events(self) -> int: ...
    @property
    def lag_s(self) -> float: ...
    @property
    def partitions(self) -> Mapping[int, PartitionLag]: ...
    @property
    def unsure(self) -> str | None: ...


class Folding(Protocol):
    """A projector, as far as readiness asks it."""

    async def lag(self) -> _Lag:
        """Raises LogUnavailable, LogClosed."""

    @property
    def stopped(self) -> str | None:
        """Why a partition does not go on, as a sentence."""


class Taking(Protocol):
    """An ingest room, as far as readiness asks it."""

    def spooled(self) -> Spooled | None:
        """What its spool holds."""


class Health:
    """Gathers them. `reasons` are the rooms' own."""

    def __init__(
        self, *reasons: Callable[[], list[str]], ingest: Taking | None = None, projector: Folding | None = None
    ) -> None:
        self._reasons = reasons
        self._ingest = ingest
        self._projector = projector
        self._draining = False

    def drain(self) -> None:
        """From now on this process takes no new work."""
        self._draining = True

    async def readiness(self) -> Readiness:
        """Asks the log for its ends; does not raise."""
        if self._draining:
            return Readiness(("The process is stopping.",), serving=False)
        reasons = [reason for room in self._reasons for reason in room()]
        progress = None
        if self._projector is not None:
            try:
                lag = await self._projector.lag()
                partitions = {str(partition): one for partition, one in lag.partitions.items()}
                progress = Progress(
                    {partition: one.position for partition, one in partitions.items()},
                    {partition: one.end for partition, one in partitions.items()},
                    lag.lag_events,
                    lag.lag_s,
                    partitions,
                )
            except Retry as away:
                reasons.append(str(away))
            else:
                reasons += [lag.unsure] if lag.unsure else []
                reasons += _behind(progress)
            if self._projector.stopped is not None:
                reasons.append(self._projector.stopped)
        spool = None if self._ingest is None else self._ingest.spooled()
        return Readiness(tuple(dict.fromkeys(reasons)), progress=progress, spool=spool)


def _behind(progress: Progress) -> list[str]:
    return [
        f"Partition {partition} is {one.lag_events} events behind the log: the oldest came {timedelta(seconds=round(one.lag_s))} ago."
        for partition, one in progress.partitions.items()
        if one.lag_s > BEHIND_S
    ]
