"""Appends on their way to a broker: they share batches, keep their order, and end at their deadlines."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from schemas.errors import LogUnavailable
from streamkit.log import lanes
from streamkit.log.lanes import Lanes
from streamkit.log.protocol import EVENTS, Record, partition_of


class Broker:
    """Takes batches while `up` is set; remembers them."""

    def __init__(self) -> None:
        self.up = asyncio.Event()
        self.up.set()
        self.failures = 0
        self.batches: list[tuple[int, list[bytes]]] = []

    async def deliver(self, topic: str, partition: int, records: Sequence[Record]) -> int:
        assert topic == EVENTS
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the broker went away")
        await self.up.wait()
        first = sum(len(values) for place, values in self.batches if place == partition)
        self.batches.append((partition, [record.value for record in records]))
        return first


@pytest.fixture
async def broker() -> Broker:
    return Broker()


async def test_what_comes_while_a_batch_is_under_way_is_the_next_batch(broker: Broker) -> None:
    ways = Lanes({EVENTS: 1}, broker.deliver)
    broker.up.clear()
    first = asyncio.create_task(ways.append(EVENTS, [Record("1", b"first")], 20))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    rest = [asyncio.create_task(ways.append(EVENTS, [Record("1", str(n).encode())], 20)) for n in range(50)]
    await asyncio.sleep(0)
    broker.up.set()
    positions = [(await append)[0].position for append in [first, *rest]]
    assert positions == list(range(1, 52))
    assert [len(values) for _, values in broker.batches] == [1, 50]
    await ways.close()


async def test_a_call_over_several_partitions_is_answered_in_its_own_order(broker: Broker) -> None:
    ways = Lanes({EVENTS: 4}, broker.deliver)
    keys = [str(n) for n in range(30)]
    appended = await ways.append(EVENTS, [Record(key, key.encode()) for key in keys], 20)
    assert [place.partition for place in appended] == [partition_of(key, 4) for key in keys]
    for partition in range(4):
        mine = [place.position for place in appended if place.partition == partition]
        assert mine == list(range(1, len(mine) + 1))
    await ways.close()


async def test_a_failed_batch_is_sent_again_in_order(broker: Broker) -> None:
    ways = Lanes({EVENTS: 1}, broker.deliver)
    broker.failures = 2
    appends = [asyncio.create_task(ways.append(EVENTS, [Record("1", str(n).encode())], 20)) for n in range(9)]
    assert [(await append)[0].position for append in appends] == list(range(1, 10))
    assert [value for _, values in broker.batches for value in values] == [str(n).encode() for n in range(9)]
    await ways.close()


async def test_an_append_that_is_not_through_by_its_deadline_fails_with_the_reason(broker: Broker) -> None:
    ways = Lanes({EVENTS: 1}, broker.deliver)
    broker.failures = 10**9
    with pytest.raises(LogUnavailable, match=r"streamkit.events/0 .*the broker went away"):
        await ways.append(EVENTS, [Record("1", b"x")], 0.2)
    broker.failures = 0
    broker.up.clear()
    with pytest.raises(LogUnavailable):
        await ways.append(EVENTS, [Record("1", b"late")], 0.2)
    queued = asyncio.create_task(ways.append(EVENTS, [Record("1", b"queued behind it")], 20))
    await asyncio.sleep(0)
    broker.up.set()
    assert (await queued)[0].position == 2
    assert broker.batches == [(0, [b"late"]), (0, [b"queued behind it"])]
    await ways.close()


async def test_closing_waits_for_what_is_queued_and_for_no_broker(broker: Broker) -> None:
    ways = Lanes({EVENTS: 1}, broker.deliver)
    through = asyncio.create_task(ways.append(EVENTS, [Record("1", b"x")], 20))
    await asyncio.sleep(0)
    await ways.close()
    assert (await through)[0].position == 1

    ways = Lanes({EVENTS: 1}, broker.deliver)
    broker.up.clear()
    stuck = asyncio.create_task(ways.append(EVENTS, [Record("1", b"x")], 0.2))
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await ways.close()
    with pytest.raises(LogUnavailable):
        await stuck


async def test_a_batch_has_a_size(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "_BATCH_BYTES", 1000)
    ways = Lanes({EVENTS: 1}, broker.deliver)
    await ways.append(EVENTS, [Record("1", b"x" * 300) for _ in range(10)], 20)
    assert [len(values) for _, values in broker.batches] == [3, 3, 3, 1]
    await ways.close()
