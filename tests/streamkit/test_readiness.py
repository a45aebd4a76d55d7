from __future__ import annotations

import pytest

from projector.lag import Lag
from schemas.errors import LogUnavailable
from streamkit.health import PartitionLag
from streamkit.readiness import Health


class Folding:
    """A projector whose partition 1 is so old."""

    stopped: str | None = None

    def __init__(self, lag_s: float, away: bool = False) -> None:
        self._lag_s = lag_s
        self._away = away

    async def lag(self) -> Lag:
        if self._away:
            raise LogUnavailable("The log is away.")
        return Lag(
            {0: PartitionLag(5, 5, 0, 0.0, 1, 4096, None), 1: PartitionLag(3, 10, 7, self._lag_s, 2, 8192, None)}
        )


async def test_what_is_told_of_each_partition() -> None:
    readiness = await Health(lambda: ["Redis is away."], projector=Folding(1.5)).readiness()
    assert readiness.reasons == ("Redis is away.",)
    assert readiness.progress is not None
    assert readiness.progress.partitions["1"] == PartitionLag(3, 10, 7, 1.5, 2, 8192)
    assert (readiness.progress.positions, readiness.progress.ends) == ({"0": 5, "1": 3}, {"0": 5, "1": 10})
    assert (readiness.progress.lag_events, readiness.progress.lag_s) == (7, 1.5)


@pytest.mark.parametrize(
    ("folding", "reason"),
    [
        (Folding(61.0), "Partition 1 is 7 events behind the log: the oldest came 0:01:01 ago."),
        (Folding(0.0, away=True), "The log is away."),
    ],
)
async def test_what_degrades(folding: Folding, reason: str) -> None:
    readiness = await Health(projector=folding).readiness()
    assert (readiness.reasons, readiness.serving) == ((reason,), True)


async def test_ends_that_may_be_old_are_told_with_a_reason() -> None:
    class Unsure(Folding):
        async def lag(self) -> Lag:
            return Lag((await super().lag()).partitions, "The log is away.")

    readiness = await Health(projector=Unsure(0.0)).readiness()
    assert readiness.reasons == ("The log is away.",)
    assert readiness.progress is not None


async def test_a_process_that_stops_serves_nothing_new() -> None:
    health = Health(projector=Folding(0.0))
    health.drain()
    assert (await health.readiness()).serving is False
