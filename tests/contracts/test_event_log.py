"""What every EventLog keeps to, on every adapter: memory, SQLite, Kafka."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import BadSettings, LogClosed, LogMisconfigured, RecordTooLarge
from streamkit.log import open_log
from streamkit.log.memory import MemoryLog
from streamkit.log.protocol import (
    CONTROL,
    DEAD_LETTERS,
    EVENTS,
    MAX_KEY_BYTES,
    MAX_RECORD_BYTES,
    TOPICS,
    VAULT,
    EventLog,
    Record,
    partition_of,
)

WAIT_S = 20.0


class Home:
    """Where one log lives; opened as often as the test likes."""

    def __init__(self, url: str, data_dir: Path) -> None:
        self.url = url
        self.data_dir = data_dir
        self._opened: list[EventLog] = []

    async def open(self, partitions: int | None = None) -> EventLog:
        log: EventLog
        if self.url == "memory:":
            log = MemoryLog(partitions or 1)
        else:
            log = await open_log(self.url, data_dir=self.data_dir, partitions=partitions)
        self._opened.append(log)
        return log

    async def close(self) -> None:
        for log in self._opened:
            await log.close()


def _address(request: pytest.FixtureRequest) -> str:
    """Kafka's fixtures are asked for only where a test runs on it."""
    if request.param != "kafka":
        return f"{request.param}:"
    url: str = request.getfixturevalue("kafka_log_url")
    return url


@pytest.fixture(params=["memory", "sqlite", "kafka"])
def any_url(request: pytest.FixtureRequest) -> str:
    return _address(request)


@pytest.fixture(params=["sqlite", "kafka"])
def lasting_url(request: pytest.FixtureRequest) -> str:
    return _address(request)


@pytest.fixture
async def home(any_url: str, tmp_path: Path) -> AsyncIterator[Home]:
    """Every adapter."""
    home = Home(any_url, tmp_path)
    yield home
    await home.close()


@pytest.fixture
async def lasting_home(lasting_url: str, tmp_path: Path) -> AsyncIterator[Home]:
    """The adapters that outlive a process."""
    home = Home(lasting_url, tmp_path)
    yield home
    await home.close()


def record(value: str, key: str = "7") -> Record:
    return Record(key, value.encode(), (("source", "test"),))


async def read_all(log: EventLog, topic: str, partition: int, position: int = 0) -> list[str]:
    """All values from `position` to the present end."""
    values: list[str] = []
    while (batch := await log.read(topic, partition, position)).values:
        assert batch.positions == sorted(set(batch.positions))
        assert batch.positions[0] >= position
        assert batch.next_position > batch.positions[-1]
        values += [value.decode() for value in batch.values]
        position = batch.next_position
    return values


async def test_records_come_back_in_order_with_their_keys_and_positions(home: Home) -> None:
    log = await home.open(4)
    place = partition_of("7", 4)
    appended = await log.append(EVENTS, [record("a"), record("b")])
    appended += await log.append(EVENTS, [record("c")])
    assert [(a.partition, a.position) for a in appended] == [(place, 1), (place, 2), (place, 3)]
    batch = await log.read(EVENTS, place, 0)
    assert batch.positions == [0, 1, 2]
    assert batch.keys == ["7", "7", "7"]
    assert batch.values == [b"a", b"b", b"c"]
    assert batch.next_position == 3
    assert (await log.read(EVENTS, place, 1, limit=1)).values == [b"b"]


async def test_each_topic_and_partition_is_its_own_sequence(home: Home) -> None:
    log = await home.open(4)
    assert [log.partitions(topic) for topic in TOPICS] == [4, 1, 1, 1]
    keys = [str(n) for n in range(40)]
    appended = await log.append(EVENTS, [record(f"e{key}", key) for key in keys])
    assert [a.partition for a in appended] == [partition_of(key, 4) for key in keys]
    await log.append(VAULT, [record("secret", "1:kick")])
    await log.append(DEAD_LETTERS, [record("letter", "kick:1")])
    for partition in range(4):
        mine = [f"e{key}" for key in keys if partition_of(key, 4) == partition]
        assert await read_all(log, EVENTS, partition) == mine
    assert await read_all(log, VAULT, 0) == ["secret"]
    assert await read_all(log, DEAD_LETTERS, 0) == ["letter"]
    ends = await log.ends(EVENTS)
    assert sum(ends) == 40
    assert [(i.partition, i.start, i.end) for i in await log.info() if i.topic == EVENTS] == [
        (partition, 0, end) for partition, end in enumerate(ends)
    ]


async def test_a_record_survives_as_it_was(home: Home) -> None:
    log = await home.open(1)
    strange = [Record("", b""), Record("schlüssel \0 🎉", bytes(range(256))), Record("9", b"x" * MAX_RECORD_BYTES)]
    await log.append(EVENTS, strange)
    batch = await log.read(EVENTS, 0, 0)
    while len(batch.values) < 3:
        more = await log.read(EVENTS, 0, batch.next_position)
        batch.keys.extend(more.keys)
        batch.values.extend(more.values)
        batch = type(batch)(batch.positions + more.positions, batch.keys, batch.values, more.next_position)
    assert batch.keys == [r.key for r in strange]
    assert batch.values == [r.value for r in strange]


async def test_an_empty_append_does_nothing(home: Home) -> None:
    log = await home.open(1)
    assert await log.append(EVENTS, []) == []
    assert await log.ends(EVENTS) == (0,)


async def test_a_record_that_is_too_large_refuses_the_whole_call(home: Home) -> None:
    log = await home.open(1)
    with pytest.raises(RecordTooLarge):
        await log.append(EVENTS, [record("small"), Record("7", b"x" * (MAX_RECORD_BYTES + 1))])
    assert await log.ends(EVENTS) == (0,)
    await log.append(EVENTS, [record("small")])
    assert await read_all(log, EVENTS, 0) == ["small"]


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (Record("k" * (MAX_KEY_BYTES + 1), b"x"), RecordTooLarge),
        (Record("k", b"x", (("h", "v" * MAX_KEY_BYTES),)), RecordTooLarge),
        (Record("\ud800", b"x"), UnicodeEncodeError),
        (Record("k", b"x", (("h", "\ud800"),)), UnicodeEncodeError),
    ],
    ids=["long key", "long header", "key no text", "header no text"],
)
async def test_a_record_that_does_not_fit_spoils_nobody_elses(home: Home, bad: Record, error: type[Exception]) -> None:
    log = await home.open(1)
    others = [asyncio.create_task(log.append(EVENTS, [record(str(n))])) for n in range(5)]
    with pytest.raises(error):
        await log.append(EVENTS, [record("with it"), bad])
    await asyncio.gather(*others)
    assert await read_all(log, EVENTS, 0) == ["0", "1", "2", "3", "4"]


async def test_a_call_larger_than_any_one_batch_goes_through_in_order(home: Home) -> None:
    log = await home.open(1)
    big = [Record("7", bytes([n]) * 600_000) for n in range(12)]
    appended = await log.append(EVENTS, big)
    assert [a.position for a in appended] == list(range(1, 13))
    position, seen = 0, []
    while position < 12:
        batch = await log.read(EVENTS, 0, position)
        seen += [value[0] for value in batch.values]
        position = batch.next_position
    assert seen == list(range(12))


async def test_concurrent_appenders_lose_nothing_and_keep_their_own_order(home: Home) -> None:
    log = await home.open(4)

    async def append(writer: int) -> list[int]:
        positions = []
        for number in range(20):
            positions.append((await log.append(EVENTS, [record(f"{writer}:{number}", str(writer))]))[0].position)
        return positions

    all_positions = await asyncio.gather(*(append(writer) for writer in range(32)))
    for writer, positions in enumerate(all_positions):
        values = await read_all(log, EVENTS, partition_of(str(writer), 4))
        mine = [value for value in values if value.startswith(f"{writer}:")]
        assert mine == [f"{writer}:{number}" for number in range(20)]
        assert positions == [values.index(value) + 1 for value in mine]


async def test_what_was_appended_before_lies_before_the_ends(home: Home) -> None:
    log = await home.open(1)
    for number in range(1, 20):
        appended = await log.append(EVENTS, [record(str(number))])
        assert await log.ends(EVENTS) == (appended[0].position,)
        assert (await log.read(EVENTS, 0, number - 1)).values == [str(number).encode()]


async def test_a_reader_that_waits_is_woken_by_an_append(home: Home) -> None:
    log = await home.open(1)
    waiting = asyncio.create_task(log.read(EVENTS, 0, 0, wait_s=WAIT_S))
    elsewhere = asyncio.create_task(log.read(CONTROL, 0, (await log.ends(CONTROL))[0], wait_s=WAIT_S))
    await asyncio.sleep(0)
    await log.append(EVENTS, [record("now")])
    async with asyncio.timeout(WAIT_S / 2):
        assert (await waiting).values == [b"now"]
    await log.append(CONTROL, [record("there")])
    async with asyncio.timeout(WAIT_S / 2):
        assert (await elsewhere).values == [b"there"]


async def test_many_readers_wait_at_places_of_their_own(home: Home) -> None:
    log = await home.open(1)
    await log.append(EVENTS, [record("0"), record("1")])
    readers = [asyncio.create_task(log.read(EVENTS, 0, position, wait_s=WAIT_S)) for position in (0, 1, 2, 2, 0)]
    await asyncio.sleep(0)
    await log.append(EVENTS, [record("2")])
    firsts = [(await reader).values[0] for reader in readers]
    assert firsts == [b"0", b"1", b"2", b"2", b"0"]


async def test_a_wait_without_records_ends_empty_where_it_began(home: Home) -> None:
    log = await home.open(1)
    await log.append(EVENTS, [record("one")])
    loop = asyncio.get_running_loop()
    began = loop.time()
    batch = await log.read(EVENTS, 0, 1, wait_s=0.1)
    assert (batch.values, batch.next_position) == ([], 1)
    assert 0.09 < loop.time() - began < 5


async def test_a_position_beyond_the_end_waits_for_it(home: Home) -> None:
    log = await home.open(1)
    await log.append(EVENTS, [record("0")])
    batch = await log.read(EVENTS, 0, 2)
    assert (batch.values, batch.next_position) == ([], 2)
    await log.append(EVENTS, [record("1"), record("2")])
    assert (await log.read(EVENTS, 0, 2, wait_s=WAIT_S)).values == [b"2"]


async def test_a_cancelled_read_loses_nothing(home: Home) -> None:
    log = await home.open(1)
    for number in range(5):
        waiting = asyncio.create_task(log.read(EVENTS, 0, number, wait_s=WAIT_S))
        await asyncio.sleep(0.001 * number)
        waiting.cancel()
        await asyncio.wait([waiting])
        await log.append(EVENTS, [record(str(number))])
        assert (await log.read(EVENTS, 0, number)).values == [str(number).encode()]


async def test_a_cancelled_append_is_abandoned_and_not_undone(home: Home) -> None:
    log = await home.open(1)
    append = asyncio.create_task(log.append(EVENTS, [record("first")]))
    await asyncio.sleep(0)
    append.cancel()
    await asyncio.wait([append])
    await log.append(EVENTS, [record("second")])
    assert await read_all(log, EVENTS, 0) == ["first", "second"]


async def test_a_closed_log_says_so(home: Home) -> None:
    log = await home.open(1)
    end = (await log.ends(EVENTS))[0]
    under_way = [asyncio.create_task(log.append(EVENTS, [record(str(n))])) for n in range(50)]
    waiting = asyncio.create_task(log.read(EVENTS, 0, end + 1000, wait_s=WAIT_S))
    await asyncio.sleep(0)
    await log.close()
    await log.close()
    assert [(await append)[0].position for append in under_way] == list(range(end + 1, end + 51))
    with pytest.raises(LogClosed):
        await waiting
    with pytest.raises(LogClosed):
        await log.append(EVENTS, [record("late")])
    with pytest.raises(LogClosed):
        await log.read(EVENTS, 0, 0)
    with pytest.raises(LogClosed):
        await log.ends(EVENTS)


async def test_a_log_opened_again_is_the_same_log(lasting_home: Home) -> None:
    log = await lasting_home.open(3)
    appended = await log.append(EVENTS, [record("before")])
    await log.close()
    again = await lasting_home.open()
    assert again.log_id == log.log_id
    assert len(again.log_id) >= 16
    assert again.partitions(EVENTS) == 3
    assert await read_all(again, EVENTS, appended[0].partition) == ["before"]
    assert (await again.append(EVENTS, [record("after")]))[0].position == appended[0].position + 1


async def test_two_that_make_a_log_at_once_make_one(lasting_home: Home) -> None:
    logs = await asyncio.gather(*(lasting_home.open() for _ in range(3)))
    assert len({log.log_id for log in logs}) == 1
    await logs[0].append(EVENTS, [record("shared")])
    partition = partition_of("7", logs[1].partitions(EVENTS))
    assert (await logs[1].read(EVENTS, partition, 0, wait_s=WAIT_S)).values == [b"shared"]


async def test_another_number_of_partitions_is_refused(lasting_home: Home) -> None:
    await lasting_home.open(2)
    with pytest.raises(LogMisconfigured, match=r"2 partition.*STREAMKIT_PARTITIONS.*"):
        await lasting_home.open(3)


async def test_every_log_has_an_id_of_its_own(tmp_path: Path) -> None:
    ids = {MemoryLog().log_id, MemoryLog().log_id}
    for name in ("a", "b"):
        log = await open_log("sqlite:", data_dir=tmp_path / name)
        ids.add(log.log_id)
        await log.close()
    assert len(ids) == 4


async def test_two_open_logs_wake_each_others_readers(lasting_home: Home) -> None:
    here, there = await lasting_home.open(1), await lasting_home.open(1)
    waiting = asyncio.create_task(here.read(EVENTS, 0, 0, wait_s=WAIT_S))
    await asyncio.sleep(0)
    await there.append(EVENTS, [record("hello")])
    assert (await waiting).values == [b"hello"]


async def test_kill_nine_in_mid_append_keeps_all_that_was_acknowledged(lasting_home: Home) -> None:
    """Two processes append at once; one is killed in the middle, then the other."""
    log = await lasting_home.open()
    children = [_child(lasting_home, prefix) for prefix in ("a", "b")]
    acknowledged: dict[str, tuple[int, int]] = {}
    for child in children:
        lines = [await asyncio.to_thread(child.stdout.readline) for _ in range(300)]  # type: ignore[union-attr]
        child.send_signal(signal.SIGKILL)
        rest = (await asyncio.to_thread(child.communicate))[0]
        for line in "".join([*lines, rest]).splitlines():
            if len(parts := line.split()) == 3:  # the last line may be cut
                acknowledged[parts[0]] = int(parts[1]), int(parts[2])
    assert len(acknowledged) >= 600
    partition = partition_of("7", log.partitions(EVENTS))
    await log.append(EVENTS, [record("end")])
    values = await read_all(log, EVENTS, partition)
    assert values[-1] == "end"
    for value, (place, position) in acknowledged.items():
        assert place == partition
        assert values[position - 1] == value
    assert len(set(values)) == len(values)


def _child(home: Home, prefix: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", "tests.contracts.log_child", home.url, str(home.data_dir), prefix]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("url", ["", "sqlite", "sqlite:/tmp/x", "kafka://", "kafka://host", "kafka:host:1", "redis:"])
async def test_an_unknown_address_is_refused_by_the_settings_name(url: str, tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="STREAMKIT_LOG_URL"):
        await open_log(url, data_dir=tmp_path)


@given(st.text(max_size=40), st.integers(1, 64))
def test_the_partition_is_the_one_of_kafkas_own_clients(key: str, partitions: int) -> None:
    theirs = DefaultPartitioner()(key.encode(), list(range(partitions)), list(range(partitions)))
    assert partition_of(key, partitions) == theirs


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        ("1", 154038159),
        ("2", 648968168),
        ("21", 1173551340),
        ("foobar", 1357151166),
        ("1234567", 1542273222),
        ("987654321", 577579727),
        ("schlüssel", 331429656),
    ],
)
def test_the_partition_is_javas(key: str, hashed: int) -> None:
    """The numbers come from Java: Utils.toPositive(Utils.murmur2(key)) of Kafka 4.3.1."""
    for partitions in (1, 2, 3, 4, 7, 64, 1000):
        assert partition_of(key, partitions) == hashed % partitions
