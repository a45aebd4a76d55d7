from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from projector.bulk import fold_until
from projector.fold import Folded as Commit
from projector.fold import fold as fold_batch
from projector.poison import PartitionStopped
from schemas.event import Event, encode_event
from schemas.kinds import KicksGifted
from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import EVENTS, Record
from tests.harness import Folded, fold
from tests.projector.events import USER, event
from tests.strategies import seeded_log


async def append(log: MemoryLog, events: Sequence[Event | bytes]) -> None:
    values = [one if isinstance(one, bytes) else encode_event(one) for one in events]
    await log.append(EVENTS, [Record(key=str(USER), value=value) for value in values])


async def bulk(log: MemoryLog, path: Path, until: int, stop: asyncio.Event | None = None) -> tuple[int, dict[str, str]]:
    with Folded(path) as folded:
        position = await fold_until(
            log, folded.session, 0, until=until, progress=folded.commits.append, stop=stop or asyncio.Event()
        )
        assert position == folded.position
        return position, folded.digest()


def _first(size: int) -> Any:
    return mock.patch("projector.bulk.FIRST_BATCH", size)


@pytest.mark.parametrize("every", [1, 7, 100_000])
async def test_the_tables_are_those_of_the_live_fold_at_any_position(
    log: MemoryLog, tmp_path: Path, every: int
) -> None:
    events = seeded_log(1, 300)
    await append(log, events)
    with mock.patch("projector.fold.SETTLED_EVERY", every), mock.patch("projector.bulk.BATCH", 50), _first(6):
        for until in (150, 299):
            position, digest = await bulk(log, tmp_path / "bulk.duckdb", until)
            assert position == until
            with fold(events[:until], path=tmp_path / f"{until}.duckdb", batches=[1, 10] * 9) as live:
                assert digest == live.digest()


async def test_what_is_passed_over_leaves_no_trace(log: MemoryLog, tmp_path: Path) -> None:
    """Also when it is all there is, at the end, or the first of two copies."""
    events = [event(KicksGifted(amount=1)) for _ in range(6)]
    await append(log, [events[0], events[1], events[2], events[1], events[4], events[5]])
    with Folded(tmp_path / "bulk.duckdb") as folded, fold([], path=tmp_path / "live.duckdb") as live:
        position = await fold_until(
            log,
            folded.session,
            0,
            until=6,
            progress=folded.commits.append,
            stop=asyncio.Event(),
            passed_over=frozenset({1, 4, 5}),
        )
        for at, one in ((0, events[0]), (2, events[2]), (3, events[1])):
            fold_batch(live.session, live.position, [at], [encode_event(one)], at + 1)
        assert (position, folded.digest()) == (6, live.digest())
        more = await fold_until(
            log, folded.session, 0, until=6, progress=folded.commits.append, stop=asyncio.Event(), passed_over={0}
        )
        assert more == 6


async def test_it_stops_between_two_batches_and_goes_on(log: MemoryLog, tmp_path: Path) -> None:
    await append(log, [event(KicksGifted(amount=1)) for _ in range(100)])
    stop = asyncio.Event()

    def told(commit: Commit) -> None:
        stop.set()

    with (
        mock.patch("projector.fold.SETTLED_EVERY", 20),
        mock.patch("projector.bulk.BATCH", 40),
        mock.patch("projector.bulk.FIRST_BATCH", 20),
        Folded(tmp_path / "a.duckdb") as folded,
    ):
        assert await fold_until(log, folded.session, 0, until=100, progress=told, stop=stop) == 20
        stop.clear()
        assert await fold_until(log, folded.session, 0, until=100, progress=lambda _: None, stop=stop) == 100
        assert folded.ask(USER, "kicks_summary")[0].gift_events == 100


async def test_records_that_cannot_be_folded_are_passed_over(log: MemoryLog, tmp_path: Path) -> None:
    good = [event(KicksGifted(amount=1)) for _ in range(12)]
    lone = encode_event(event(KicksGifted(amount=1, message="X"))).replace(b'"X"', b'"\\ud800"')
    await append(log, [b"nope", *good[:6], lone, *good[6:], b"[1]"])
    with Folded(tmp_path / "a.duckdb") as folded:
        assert await fold_until(log, folded.session, 0, until=15, progress=lambda _: None, stop=asyncio.Event()) == 15
        assert folded.ask(USER, "kicks_summary")[0].gift_events == 12


async def test_a_fold_that_cannot_fold_anything_says_so(log: MemoryLog, tmp_path: Path) -> None:
    await log.append(EVENTS, [Record(key=str(key), value=b"nope") for key in range(20)])
    with Folded(tmp_path / "a.duckdb") as folded, pytest.raises(PartitionStopped):
        await fold_until(log, folded.session, 0, until=20, progress=lambda _: None, stop=asyncio.Event())
