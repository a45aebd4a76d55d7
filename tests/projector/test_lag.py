from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from projector.run import Projector
from schemas.errors import LogUnavailable
from schemas.event import encode_event, utc_now
from schemas.kinds import KicksGifted
from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import EVENTS, Record
from streamkit.telemetry import REGISTRY
from tests.projector.events import USER, event

AGE_S = 3600.0


@pytest.fixture
async def log() -> AsyncIterator[MemoryLog]:
    log = MemoryLog(partitions=2)
    yield log
    await log.close()


async def stand_still(projector: Projector) -> None:
    """As a partition that stopped, or that waits for its disk."""
    for one in projector._folds.values():
        await one.stop()


async def put(log: MemoryLog, *ages_s: float) -> int:
    """Gifts that were received so long ago; their partition."""
    now = utc_now()
    values = [
        encode_event(event(KicksGifted(amount=1), received_at=now - timedelta(seconds=age_s))) for age_s in ages_s
    ]
    appended = await log.append(EVENTS, [Record(key=str(USER), value=value) for value in values])
    return appended[0].partition


async def test_the_oldest_event_counts_though_nobody_has_read_it_yet(log: MemoryLog, projector: Projector) -> None:
    await stand_still(projector)
    partition = await put(log, AGE_S, 5.0)
    lag = await projector.lag()
    assert (lag.lag_events, lag.partitions[partition].lag_events, lag.partitions[1 - partition].lag_events) == (2, 2, 0)
    assert AGE_S <= lag.lag_s < AGE_S + 60.0
    assert lag.partitions[1 - partition].lag_s == 0.0
    told = REGISTRY.get_sample_value("streamkit_fold_lag_seconds", {"partition": str(partition)})
    assert told == lag.partitions[partition].lag_s
    projector._folds[partition].start()
    await projector.reads.ask(USER, [], min_position=2, wait_s=10.0)
    lag = await projector.lag()
    assert (lag.lag_events, lag.lag_s, lag.partitions[partition].position) == (0, 0.0, 2)


async def test_the_log_is_asked_for_it_once_while_the_partition_stands(
    log: MemoryLog, projector: Projector, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stand_still(projector)
    await put(log, AGE_S)
    first = await projector.lag()

    async def away(*_: object, **__: object) -> None:
        raise LogUnavailable("away")

    monkeypatch.setattr(log, "read", away)
    assert (await projector.lag()).lag_s >= first.lag_s > 0.0


async def test_while_the_log_is_away_it_is_told_by_the_ends_that_were_known(
    log: MemoryLog, projector: Projector, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stand_still(projector)
    partition = await put(log, AGE_S)
    before = await projector.lag()

    async def away(*_: object, **__: object) -> None:
        raise LogUnavailable("The log is away.")

    monkeypatch.setattr(log, "ends", away)
    lag = await projector.lag()
    assert (before.unsure, lag.unsure) == (None, "The log is away.")
    assert lag.lag_events == 1
    assert [one.end for one in lag.partitions.values()] == [one.end for one in before.partitions.values()]
    assert lag.partitions[partition].lag_s >= before.lag_s

    async def never(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("projector.lag.ENDS_S", 0.01)
    monkeypatch.setattr(log, "ends", never)
    assert "did not answer within 0.01 s" in str((await projector.lag()).unsure)


async def test_a_log_that_never_told_its_ends_is_away(
    log: MemoryLog, projector: Projector, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> None:
        raise LogUnavailable("The log is away.")

    monkeypatch.setattr(log, "ends", away)
    with pytest.raises(LogUnavailable, match="The log is away"):
        await projector.lag()


async def test_an_event_that_does_not_say_when_it_came_has_no_age(log: MemoryLog, projector: Projector) -> None:
    await stand_still(projector)
    await log.append(EVENTS, [Record(key=str(USER), value=b"not an event")])
    lag = await projector.lag()
    assert (lag.lag_events, lag.lag_s) == (1, 0.0)


async def test_before_records_that_do_not_say_when_they_came_the_next_that_does_counts(
    log: MemoryLog, projector: Projector
) -> None:
    await stand_still(projector)
    await log.append(EVENTS, [Record(key=str(USER), value=b"not an event")] * 10)
    await put(log, AGE_S)
    lag = await projector.lag()
    assert lag.lag_events == 11
    assert AGE_S <= lag.lag_s < AGE_S + 60.0


async def test_a_partition_that_went_elsewhere_is_told_of_no_more(projector: Projector) -> None:
    def told() -> list[float | None]:
        return [REGISTRY.get_sample_value("streamkit_fold_lag_events", {"partition": p}) for p in ("0", "1")]

    await projector.lag()
    assert told() == [0.0, 0.0]
    await projector.release(1)
    await projector.lag()
    assert told() == [0.0, None]


async def test_it_tells_what_answers_and_how_large_it_is(projector: Projector) -> None:
    made_at = utc_now()
    projector.note_snapshot(projector.served()[0].path, made_at)
    lag = await projector.lag()
    assert [(one.generation, one.snapshot_made_at) for one in lag.partitions.values()] == [(1, made_at), (1, None)]
    assert lag.partitions[0].file_bytes >= projector.served()[0].path.stat().st_size > 0
    size = REGISTRY.get_sample_value("streamkit_read_model_bytes", {"partition": "0"})
    assert size == lag.partitions[0].file_bytes
    at = REGISTRY.get_sample_value("streamkit_snapshot_made_at", {"partition": "0"})
    assert at == pytest.approx(made_at.timestamp())
