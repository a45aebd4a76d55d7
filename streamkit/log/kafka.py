"""The event log in Kafka: idempotent, acks=all, compressed. What else imports aiokafka is beside it, kafka_*.py.

Appends go down lanes (lanes.py) into one producer. Reads use consumers without a group, each at a position of its
own: a read takes the idle one that stands where it wants to read, or a new one.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from schemas.control import LogCreated
from schemas.errors import LogClosed, LogUnavailable
from streamkit.log.events import control_record
from streamkit.log.kafka_clients import start_client, stop_consumer, stop_producer
from streamkit.log.kafka_topics import (
    MAX_MESSAGE_BYTES,
    NEW_EVENTS_PARTITIONS,
    check_created,
    check_partitions,
    check_settings,
    log_id_in,
    topic_settings,
)
from streamkit.log.lanes import Lanes
from streamkit.log.protocol import (
    CONTROL,
    EVENTS,
    TOPICS,
    Appended,
    Batch,
    PartitionInfo,
    Record,
)

_REQUEST_TIMEOUT_MS = 10_000
_ANSWER_S = 2.0
_OPEN_S = 20.0
_FETCH_BYTES = 8 << 20
_MORE_FETCHES = 7
_BEYOND_END_POLL_S = 0.05
_IDLE_CURSORS = 2


class _Cursor:
    """A consumer of one partition and where it stands (None: not known)."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self.consumer = consumer
        self.position: int | None = None
        self.is_started = False
        self.is_free = asyncio.Event()


class KafkaLog:
    """An EventLog in Kafka. Made by `open`; belongs to the event loop that opened it."""

    def __init__(self, bootstrap: str, partitions: int, append_timeout_s: float) -> None:
        """Nothing is connected yet; use `open`."""
        self._bootstrap = bootstrap
        self._partitions = partitions
        self._append_timeout_s = append_timeout_s
        self._log_id = ""
        self._closed = False
        self._producer: tuple[AIOKafkaProducer, asyncio.Future[None]] | None = None
        self._producer_lock = asyncio.Lock()
        self._offsets = self._consumer()
        self._idle: dict[TopicPartition, list[_Cursor]] = defaultdict(list)
        self._busy: set[_Cursor] = set()
        self._lanes = Lanes({topic: self.partitions(topic) for topic in TOPICS}, self._deliver)

    @classmethod
    async def open(
        cls,
        bootstrap: str,
        *,
        partitions: int | None = None,
        dead_letter_max_bytes: int = 1 << 30,
        append_timeout_s: float = 1.0,
    ) -> KafkaLog:
        """Open the log of the brokers at `bootstrap` (`host:port[,host:port]`), making the topics that are missing.

        `append_timeout_s` is how long an append may wait for its acknowledgement. Raises LogMisconfigured (a topic has
        other partitions or retention), LogUnavailable (no broker answers).
        """
        log: KafkaLog | None = None
        try:
            async with asyncio.timeout(_OPEN_S):
                count = await _ensure_topics(bootstrap, partitions, dead_letter_max_bytes)
                log = cls(bootstrap, count, append_timeout_s)
                await start_client(log._offsets)
                log._log_id = await log._identity()
        except BaseException as error:
            if log is not None:
                await log.close()
            if isinstance(error, (KafkaError, TimeoutError, OSError)):
                raise LogUnavailable(
                    f"Kafka at {bootstrap} cannot be reached ({_text(error)}): start it (`docker compose up -d kafka`) "
                    "or set STREAMKIT_LOG_URL to where it runs."
                ) from error
            raise
        return log

    @property
    def log_id(self) -> str:
        """The log's own random id: that of the first record of the control topic."""
        return self._log_id

    def partitions(self, topic: str) -> int:
        """How many partitions the topic has."""
        return self._partitions if topic == EVENTS else 1

    async def append(self, topic: str, records: Sequence[Record]) -> list[Appended]:
        """Append in order; returns when every replica in sync has them.

        Raises RecordTooLarge, LogUnavailable (not acknowledged in time; it may still come), LogClosed.
        """
        self._check_open()
        return await self._lanes.append(topic, records, self._append_timeout_s)

    async def read(self, topic: str, partition: int, position: int, *, limit: int = 1000, wait_s: float = 0.0) -> Batch:
        """Up to `limit` records (64 MiB) from `position` on; waits up to `wait_s` seconds for the first.

        Where the oldest are gone by retention, it starts at the oldest there is. Raises LogUnavailable a few seconds
        after the wait, LogClosed.
        """
        self._check_open()
        tp = TopicPartition(topic, partition)
        try:
            async with self._cursor(tp, position) as cursor:
                position, found = await self._fetch(cursor.consumer, tp, position, limit, wait_s)
                if found:
                    position = found[-1].offset + 1
                cursor.position = position
        except (KafkaError, TimeoutError, OSError) as error:
            self._check_open()
            raise LogUnavailable(f"Kafka did not give records of {topic}/{partition} ({_text(error)}).") from error
        self._check_open()
        return Batch(
            positions=[record.offset for record in found],
            keys=[(record.key or b"").decode(errors="replace") for record in found],
            values=[record.value or b"" for record in found],
            next_position=position,
        )

    async def ends(self, topic: str) -> tuple[int, ...]:
        """The end position of every partition. Raises LogUnavailable within 2 s, LogClosed."""
        self._check_open()
        places = [TopicPartition(topic, partition) for partition in range(self.partitions(topic))]
        ends = await self._ask(self._offsets.end_offsets, places)
        return tuple(ends[tp] for tp in places)

    async def info(self) -> list[PartitionInfo]:
        """Extent of every partition of every topic; the sizes are None (`kafka-log-dirs.sh` tells them)."""
        self._check_open()
        places = [TopicPartition(topic, partition) for topic in TOPICS for partition in range(self.partitions(topic))]
        starts = await self._ask(self._offsets.beginning_offsets, places)
        ends = await self._ask(self._offsets.end_offsets, places)
        return [PartitionInfo(tp.topic, tp.partition, starts[tp], ends[tp], None) for tp in places]

    async def close(self) -> None:
        """Finish the appends under way (or let them reach their deadline), close all connections; idempotent."""
        if self._closed:
            return
        self._closed = True
        await self._lanes.close()
        busy = list(self._busy)
        idle = [cursor for cursors in self._idle.values() for cursor in cursors]
        await asyncio.gather(*(stop_consumer(cursor.consumer) for cursor in busy + idle if cursor.is_started))
        await asyncio.gather(*(cursor.is_free.wait() for cursor in busy))
        await stop_consumer(self._offsets)
        if self._producer is not None:
            await stop_producer(self._producer[0])

    # Appending

    async def _deliver(self, topic: str, partition: int, records: Sequence[Record]) -> int:
        """A lane's batch to the broker; retried within by the idempotent producer. The position of the first record."""
        producer, given_up = await self._ready_producer()
        batch = producer.create_batch()
        for record in records:
            headers = [(name, value.encode()) for name, value in record.headers]
            if batch.append(timestamp=None, key=record.key.encode(), value=record.value, headers=headers) is None:
                raise ValueError("the headers do not fit into a batch")
        try:
            acknowledged = await producer.send_batch(batch, topic, partition=partition)
            await asyncio.wait({acknowledged, given_up}, return_when=asyncio.FIRST_COMPLETED)
            if not acknowledged.done():
                raise KafkaError("another partition's batch failed")
            first = int(acknowledged.result().offset)
        except KafkaError:
            # It gave up on the batch, and with it on its sequence numbers: only a new producer can go on.
            if not given_up.done():
                given_up.set_result(None)
                self._producer = None
                await stop_producer(producer)
            raise
        if first < 0:  # a retry the broker had already taken, too long ago to say where
            raise KafkaError("the position was not told")
        return first

    async def _ready_producer(self) -> tuple[AIOKafkaProducer, asyncio.Future[None]]:
        """The producer, and the future that is done when it is given up."""
        async with self._producer_lock:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._bootstrap,
                    enable_idempotence=True,
                    acks="all",
                    compression_type="lz4",
                    linger_ms=0,
                    max_batch_size=MAX_MESSAGE_BYTES - 4096,
                    request_timeout_ms=_REQUEST_TIMEOUT_MS,
                )
                try:
                    await start_client(producer)
                except BaseException:
                    await stop_producer(producer)
                    raise
                self._producer = producer, asyncio.get_running_loop().create_future()
            return self._producer

    # Reading

    def _consumer(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            max_partition_fetch_bytes=_FETCH_BYTES,
            request_timeout_ms=_REQUEST_TIMEOUT_MS,
        )

    @asynccontextmanager
    async def _cursor(self, tp: TopicPartition, position: int) -> AsyncIterator[_Cursor]:
        """A cursor at `position` that nobody else uses; kept for the next read if it is told where it stands then.

        A new consumer is 15 ms; to seek with an old one is up to half a second, because its long poll must end first.
        """
        idle = self._idle[tp]
        cursor = next((cursor for cursor in idle if cursor.position == position), None) or _Cursor(self._consumer())
        if cursor.is_started:
            idle.remove(cursor)
        cursor.is_free.clear()
        self._busy.add(cursor)
        try:
            if not cursor.is_started:
                async with asyncio.timeout(_ANSWER_S):
                    await start_client(cursor.consumer)
                cursor.is_started = True
                self._check_open()
                cursor.consumer.assign([tp])
                cursor.consumer.seek(tp, position)
            cursor.position = None
            yield cursor
        finally:
            self._busy.discard(cursor)
            surplus: _Cursor | None = cursor
            if cursor.position is not None and not self._closed:
                idle.append(cursor)
                surplus = idle.pop(0) if len(idle) > _IDLE_CURSORS else None
            if surplus is not None:
                await stop_consumer(surplus.consumer)
            cursor.is_free.set()

    async def _fetch(
        self, consumer: AIOKafkaConsumer, tp: TopicPartition, position: int, limit: int, wait_s: float
    ) -> tuple[int, list[Any]]:
        """The records, and the position they were read from (later than asked for when the oldest are gone)."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        found: list[Any] = []
        while not found:
            remaining_s = max(0.0, deadline - loop.time())
            try:
                found = await _take(consumer, tp, limit, remaining_s)
                if not found:  # nothing there, or nothing heard from the broker?
                    if (await self._ask(self._offsets.end_offsets, [tp]))[tp] <= position or self._closed:
                        return position, []
                    found = await _take(consumer, tp, limit, _ANSWER_S)
                    if not found:
                        raise KafkaError("no answer in time")
            except OffsetOutOfRangeError:
                start = (await self._ask(self._offsets.beginning_offsets, [tp]))[tp]
                if position < start:
                    position = start
                elif remaining_s == 0:
                    return position, []
                else:  # beyond the end: it is not there yet
                    await asyncio.sleep(min(_BEYOND_END_POLL_S, remaining_s))
                consumer.seek(tp, position)
        for _ in range(_MORE_FETCHES):
            if len(found) >= limit or found[-1].offset + 1 >= (consumer.highwater(tp) or 0):
                break
            found += await _take(consumer, tp, limit - len(found), _ANSWER_S)
        return position, found

    async def _ask(
        self,
        question: Callable[[list[TopicPartition]], Coroutine[Any, Any, dict[TopicPartition, int]]],
        places: list[TopicPartition],
    ) -> dict[TopicPartition, int]:
        try:
            async with asyncio.timeout(_ANSWER_S):
                return await question(places)
        except (KafkaError, TimeoutError, OSError) as error:
            self._check_open()
            raise LogUnavailable(
                f"Kafka at {self._bootstrap} does not answer ({_text(error)}): check that it runs."
            ) from error

    async def _identity(self) -> str:
        """The id in the control topic's first record; appended when there is none, and the first one stands."""
        first = await self.read(CONTROL, 0, 0, limit=1)
        if not first.values:
            created = LogCreated(at=datetime.now(UTC), log_id=secrets.token_hex(16))
            await self._lanes.append(CONTROL, [control_record(created)], _OPEN_S)
            first = await self.read(CONTROL, 0, 0, limit=1, wait_s=_ANSWER_S)
        return log_id_in(first.values, self._bootstrap)

    def _check_open(self) -> None:
        if self._closed:
            raise LogClosed("The event log is closed; open it again to go on.")


async def _take(consumer: AIOKafkaConsumer, tp: TopicPartition, limit: int, wait_s: float) -> list[Any]:
    found = await consumer.getmany(tp, timeout_ms=int(wait_s * 1000), max_records=limit)
    return found.get(tp, [])


async def _ensure_topics(bootstrap: str, partitions: int | None, dead_letter_max_bytes: int) -> int:
    """Create the topics that are missing and check all of them; the number of partitions of the events."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=_REQUEST_TIMEOUT_MS)
    try:
        await admin.start()
        wanted = {topic: topic_settings(topic, dead_letter_max_bytes) for topic in TOPICS}
        new_counts = dict.fromkeys(TOPICS, 1) | {EVENTS: partitions or NEW_EVENTS_PARTITIONS}
        there = await admin.list_topics()  # never by name: asking for a topic by name may create it
        missing = [NewTopic(t, new_counts[t], -1, {}, wanted[t]) for t in TOPICS if t not in there]
        if missing:
            created: Any = await admin.create_topics(missing)
            check_created(created.topic_errors)
        counts = await _partition_counts(admin)
        for topic, count in counts.items():
            check_partitions(topic, count, count if topic == EVENTS and partitions is None else new_counts[topic])
        resources = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in TOPICS]
        responses: list[Any] = await admin.describe_configs(resources)
        for _, _, _, topic, entries in responses[0].resources:
            check_settings(topic, wanted[topic], {entry[0]: entry[1] for entry in entries})
    finally:
        await admin.close()
    return counts[EVENTS]


async def _partition_counts(admin: AIOKafkaAdminClient) -> dict[str, int]:
    """Partitions of each of our topics, once every one of them has a leader (the caller holds the time limit)."""
    while True:
        described = {topic["topic"]: topic["partitions"] for topic in await admin.describe_topics()}
        ours = {topic: described.get(topic, []) for topic in TOPICS}
        if all(places and all(place["leader"] >= 0 for place in places) for places in ours.values()):
            return {topic: len(places) for topic, places in ours.items()}
        await asyncio.sleep(0.05)


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
