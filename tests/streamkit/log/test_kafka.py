"""What only Kafka can do to a log: go away and come back, hang, or hold topics that somebody else set up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete

from schemas.control import LogCreated, decode_control
from schemas.errors import LogClosed, LogMisconfigured, LogUnavailable
from streamkit.log import open_log
from streamkit.log.kafka import KafkaLog
from streamkit.log.protocol import CONTROL, DEAD_LETTERS, EVENTS, VAULT, Record, partition_of
from tests.services.kafka import KafkaBroker, delete_topics
from tests.services.process import free_port

DEADLINE_S = 30.0


@pytest.fixture
async def log(kafka_broker: KafkaBroker) -> AsyncIterator[KafkaLog]:
    log = await KafkaLog.open(kafka_broker.bootstrap)
    yield log
    await log.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.01)


async def append_until_taken(log: KafkaLog, value: str) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                await log.append(EVENTS, [Record("7", value.encode())])
            except LogUnavailable:
                continue
            return


async def test_a_reader_outlives_a_broker_that_is_away_for_some_seconds(
    log: KafkaLog, kafka_broker: KafkaBroker
) -> None:
    """Stopping a consumer whose fetches wait to try again cancelled the reader, and nobody noticed."""
    values: list[str] = []
    away = asyncio.Event()

    async def follow() -> None:
        position, partition = 0, partition_of("7", 4)
        while True:
            try:
                batch = await log.read(EVENTS, partition, position, wait_s=1.0)
            except LogUnavailable:
                away.set()
                continue
            values.extend(value.decode() for value in batch.values)
            position = batch.next_position

    following = asyncio.create_task(follow())
    await append_until_taken(log, "before")
    await until(lambda: values == ["before"])
    kafka_broker.kill()
    await until(lambda: following.done() or away.is_set())
    await asyncio.to_thread(kafka_broker.restart)
    await append_until_taken(log, "after")
    await until(lambda: following.done() or "after" in values)
    assert not following.done()
    following.cancel()
    await asyncio.wait([following])


async def values_of(log: KafkaLog) -> list[str]:
    values: list[str] = []
    position, partition = 0, partition_of("7", 4)
    while (batch := await log.read(EVENTS, partition, position)).values:
        values += [value.decode() for value in batch.values]
        position = batch.next_position
    return values


async def test_a_broker_killed_and_restarted_keeps_all_that_was_acknowledged(
    log: KafkaLog, kafka_broker: KafkaBroker
) -> None:
    acknowledged: list[str] = []
    refused: list[str] = []

    async def append(writer: int) -> None:
        for number in range(10**9):
            if stop.is_set():
                return
            value = f"{writer}-{number}"
            try:
                await log.append(EVENTS, [Record("7", value.encode())])
            except LogUnavailable:
                refused.append(value)
            else:
                acknowledged.append(value)

    stop = asyncio.Event()
    writers = [asyncio.create_task(append(writer)) for writer in range(8)]
    await until(lambda: len(acknowledged) >= 200)
    kafka_broker.kill()
    await until(lambda: len(refused) >= 8)
    await asyncio.to_thread(kafka_broker.restart)
    before = len(acknowledged)
    await until(lambda: len(acknowledged) >= before + 200)
    stop.set()
    await asyncio.gather(*writers)
    values = await values_of(log)
    assert set(acknowledged) <= set(values)
    for writer in range(8):
        mine = [value for value in values if value.startswith(f"{writer}-") and value in set(acknowledged)]
        assert list(dict.fromkeys(mine)) == [value for value in acknowledged if value.startswith(f"{writer}-")]


async def test_with_the_broker_down_everything_ends_soon_and_works_again_later(
    log: KafkaLog, kafka_broker: KafkaBroker
) -> None:
    await append_until_taken(log, "before")
    assert await values_of(log) == ["before"]
    kafka_broker.kill()
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(LogUnavailable, match="Kafka"):
            await log.append(EVENTS, [Record("7", b"lost?")])
        assert time.monotonic() - began < 2.0
    for question in (log.ends(EVENTS), log.read(EVENTS, 0, 0), log.read(CONTROL, 0, 0, wait_s=0.1), log.info()):
        began = time.monotonic()
        with pytest.raises(LogUnavailable, match="Kafka"):
            await question
        assert time.monotonic() - began < 12.0
    await asyncio.to_thread(kafka_broker.restart)
    await append_until_taken(log, "after")
    values = await values_of(log)
    assert values[0] == "before"
    assert values[-1] == "after"
    assert set(values[1:-1]) <= {"lost?"}


async def test_a_reader_waits_through_a_restart(log: KafkaLog, kafka_broker: KafkaBroker) -> None:
    waiting = asyncio.create_task(log.read(EVENTS, partition_of("7", 4), 0, wait_s=DEADLINE_S))
    await log.ends(EVENTS)
    kafka_broker.kill()
    await asyncio.to_thread(kafka_broker.restart)
    await append_until_taken(log, "hello")
    assert (await waiting).values[0] == b"hello"


async def test_a_broker_that_hangs_holds_nobody_longer_than_the_limit(log: KafkaLog, kafka_broker: KafkaBroker) -> None:
    await append_until_taken(log, "before")
    kafka_broker.process.suspend()
    try:
        began = time.monotonic()
        outcomes = await asyncio.gather(
            *(log.append(EVENTS, [Record(str(key), b"?")]) for key in range(100)), return_exceptions=True
        )
        assert time.monotonic() - began < 2.0
        assert all(isinstance(outcome, LogUnavailable) for outcome in outcomes)
        with pytest.raises(LogUnavailable):
            await log.ends(EVENTS)
        began = time.monotonic()
        with pytest.raises(LogUnavailable):  # with a consumer of its own, which the broker does not greet
            await log.read(CONTROL, 0, 0)
        assert time.monotonic() - began < 5.0
    finally:
        kafka_broker.process.resume()
    await append_until_taken(log, "after")
    assert (await values_of(log))[-1] == "after"


async def test_closing_while_the_broker_is_down_ends_soon(kafka_broker: KafkaBroker) -> None:
    log = await KafkaLog.open(kafka_broker.bootstrap)
    await log.append(EVENTS, [Record("7", b"before")])
    kafka_broker.kill()
    under_way = asyncio.create_task(log.append(EVENTS, [Record("7", b"?")]))
    waiting = asyncio.create_task(log.read(EVENTS, 0, 0, wait_s=DEADLINE_S))
    await asyncio.sleep(0)
    began = time.monotonic()
    await log.close()
    assert time.monotonic() - began < 5.0
    with pytest.raises(LogUnavailable):
        await under_way
    with pytest.raises((LogClosed, LogUnavailable)):
        await waiting


async def test_closing_while_the_broker_hangs_ends_soon(kafka_broker: KafkaBroker) -> None:
    log = await KafkaLog.open(kafka_broker.bootstrap)
    kafka_broker.process.suspend()
    try:
        under_way = asyncio.create_task(log.append(EVENTS, [Record("7", b"?")]))
        reading = asyncio.create_task(log.read(EVENTS, 0, 0, wait_s=DEADLINE_S))
        await asyncio.wait({under_way})
        began = time.monotonic()
        reading.cancel()
        await log.close()
        assert time.monotonic() - began < 5.0
        outcomes = await asyncio.gather(under_way, reading, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [LogUnavailable, asyncio.CancelledError]
    finally:
        kafka_broker.process.resume()


async def test_a_log_that_lost_its_broker_for_a_new_one_is_not_the_same_log(clean_kafka: str) -> None:
    """The id lies in the log itself: topics made anew are another log."""
    log = await KafkaLog.open(clean_kafka)
    batch = await log.read(CONTROL, 0, 0)
    assert batch.keys == ["log"]
    created = decode_control(batch.values[0])
    assert isinstance(created, LogCreated)
    assert created.log_id == log.log_id
    await log.close()
    await delete_topics(clean_kafka)
    anew = await KafkaLog.open(clean_kafka)
    assert anew.log_id != log.log_id
    await anew.close()


async def test_kafka_that_is_not_there_is_said_with_what_to_do(tmp_path: Path) -> None:
    port = free_port()
    with pytest.raises(LogUnavailable, match=rf"127.0.0.1:{port} cannot be reached.*start it.*STREAMKIT_LOG_URL"):
        await open_log(f"kafka://127.0.0.1:{port}", data_dir=tmp_path)


async def make_topic(bootstrap: str, topic: str, partitions: int, **configs: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        names = {name.replace("_", "."): value for name, value in configs.items()}
        await admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=names)])
    finally:
        await admin.close()


@pytest.mark.parametrize(
    ("topic", "partitions", "configs", "said"),
    [
        (CONTROL, 2, {}, "streamkit.control has 2 partition.* 1 are asked for"),
        (EVENTS, 4, {"max_message_bytes": "4194304"}, "streamkit.events has retention.ms=604800000 and needs -1"),
        (EVENTS, 4, {"retention_ms": "-1"}, "streamkit.events has max.message.bytes=1048588 and needs 4194304"),
        (VAULT, 1, {"max_message_bytes": "4194304"}, "streamkit.vault has cleanup.policy=delete and needs compact"),
        (
            DEAD_LETTERS,
            1,
            {"max_message_bytes": "4194304", "retention_ms": "-1"},
            "streamkit.dead-letters has retention.bytes=-1 and needs 1000000",
        ),
    ],
)
async def test_a_topic_set_up_otherwise_is_refused_with_both_values(
    clean_kafka: str, topic: str, partitions: int, configs: dict[str, str], said: str
) -> None:
    await make_topic(clean_kafka, topic, partitions, **configs)
    with pytest.raises(LogMisconfigured, match=said):
        await KafkaLog.open(clean_kafka, dead_letter_max_bytes=1_000_000)


async def test_a_control_topic_of_something_else_is_refused(clean_kafka: str) -> None:
    await make_topic(clean_kafka, CONTROL, 1, retention_ms="-1", max_message_bytes="4194304")
    producer = AIOKafkaProducer(bootstrap_servers=clean_kafka)
    await producer.start()
    await producer.send_and_wait(CONTROL, b'{"type":"hello"}')
    await producer.stop()
    with pytest.raises(LogMisconfigured, match="does not name a StreamKit log"):
        await KafkaLog.open(clean_kafka)


async def test_what_retention_took_is_passed_over(clean_kafka: str) -> None:
    log = await KafkaLog.open(clean_kafka)
    await log.append(DEAD_LETTERS, [Record(str(number), str(number).encode()) for number in range(10)])
    admin = AIOKafkaAdminClient(bootstrap_servers=clean_kafka)
    await admin.start()
    await admin.delete_records({TopicPartition(DEAD_LETTERS, 0): RecordsToDelete(before_offset=6)})
    batch = await log.read(DEAD_LETTERS, 0, 2)
    assert (batch.positions, batch.next_position) == ([6, 7, 8, 9], 10)
    await admin.delete_records({TopicPartition(DEAD_LETTERS, 0): RecordsToDelete(before_offset=10)})
    assert (await log.read(DEAD_LETTERS, 0, 0)).next_position == 10
    assert [(info.start, info.end) for info in await log.info() if info.topic == DEAD_LETTERS] == [(10, 10)]
    await admin.close()
    await log.close()
