"""A projector's membership in Kafka's consumer group: which partitions it owns, since which generation, and whether
that still holds. Ownership only: nothing is read here, and positions live in DuckDB.

The positions committed to the group each second are the proof of the lease (lease.py): the broker takes a commit from
a member of the newest generation only. `kafka-consumer-groups.sh --describe` shows them, and so the lag.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from aiokafka.errors import IllegalStateError, KafkaError

from schemas.errors import UNREADABLE
from streamkit import telemetry
from streamkit.log.kafka_clients import start_client, stop_consumer
from streamkit.log.lease import SESSION_TIMEOUT_S, Lease, clock_s
from streamkit.log.protocol import EVENTS
from streamkit.log.shares import Share, share_out

HEARTBEAT_S = 1.0
PROOF_S = 1.0
TICK_S = 0.25
_REQUEST_TIMEOUT_S = 10.0
_BACKOFF_S = 1.0
_LEAVE_S = 2.0
_NEVER_MS = 2**31 - 1
_VERSION = 0

_share = msgspec.json.Decoder(Share)


class KafkaGroup:
    """One member, and its Tenure. One that is killed and started again under the same `name` (no two have it at once) is the
    same member to the broker, which gives it back at once what it owned. `run` joins and stays; `positions` are what is committed, by partition owned; `changed` is called
    on the event loop with each new share, and must not block."""

    def __init__(
        self,
        bootstrap: str,
        group_id: str,
        name: str,
        *,
        positions: Callable[[], Mapping[int, int]],
        changed: Callable[[Share], None],
    ) -> None:
        """Nothing is connected yet."""
        self.share = Share()
        self._bootstrap = bootstrap
        self._group_id = group_id
        self._name = name
        self._positions = positions
        self._changed = changed
        self._lease = Lease(clock_s())
        self._consumer: AIOKafkaConsumer | None = None
        self._rejoining = False
        self._prove_now = asyncio.Event()

    def epoch_of(self, partition: int) -> int | None:
        """The group generation in which the partition is owned; None: it is not, as far as is known here."""
        return self.share.epoch if partition in self.share.partitions else None

    def holds(self, partition: int) -> bool:
        """Whether questions of the partition may be answered here now."""
        return self._owns(partition) and self._lease.holds(clock_s())

    def holds_strictly(self, partition: int) -> bool:
        """Whether what is made of the partition here may be published for others: the broker said so a moment ago."""
        return self._owns(partition) and self._lease.holds_strictly(clock_s())

    def prove(self) -> None:
        """Ask the broker now, not at the next second: a position is there that was not."""
        self._prove_now.set()

    async def run(self) -> None:
        """Be a member until cancelled, which leaves the group; joins anew after whatever goes wrong. Does not raise."""
        while True:
            try:
                await self._be_member()
            except (KafkaError, OSError, TimeoutError) as error:
                telemetry.warn("group_member_failed", reason=type(error).__name__)
            await asyncio.sleep(_BACKOFF_S)

    async def _be_member(self) -> None:
        assignor = _Assignor(self)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=self._group_id,
            group_instance_id=self._name,
            enable_auto_commit=False,
            auto_offset_reset="latest",
            session_timeout_ms=int(SESSION_TIMEOUT_S * 1000),
            rebalance_timeout_ms=int(SESSION_TIMEOUT_S * 1000),
            heartbeat_interval_ms=int(HEARTBEAT_S * 1000),
            request_timeout_ms=int(_REQUEST_TIMEOUT_S * 1000),
            max_poll_interval_ms=_NEVER_MS,
            partition_assignment_strategy=[assignor],
        )
        try:
            await start_client(consumer)
            self._consumer = consumer
            consumer.subscribe([EVENTS], listener=_Listener(self))
            async with asyncio.TaskGroup() as group:
                group.create_task(self._tick())
                group.create_task(self._keep_proving(consumer))
        except* (KafkaError, OSError, TimeoutError) as several:
            raise several.exceptions[0] from None
        finally:
            self._consumer = None
            self._take(Share())
            if consumer._coordinator is not None:
                consumer._coordinator._group_instance_id = None  # else aiokafka leaves it to the session to run out
            await stop_consumer(consumer, _LEAVE_S)

    async def _tick(self) -> None:
        while True:
            self._lease.tick(clock_s())
            await asyncio.sleep(TICK_S)

    async def _keep_proving(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            await consumer.getmany(timeout_ms=0)  # gives nothing: all is paused. Raises what its tasks came to grief by
            if not self._rejoining:
                await self._prove(consumer)
            self._prove_now.clear()
            try:
                async with asyncio.timeout(PROOF_S):
                    await self._prove_now.wait()
            except TimeoutError:
                pass

    async def _prove(self, consumer: AIOKafkaConsumer) -> None:
        share, asked_s = self.share, clock_s()
        positions = {TopicPartition(EVENTS, p): at for p, at in self._positions().items() if p in share.partitions}
        if not positions or self._generation() != share.epoch:
            return
        try:
            await consumer.commit(positions)
        except (KafkaError, IllegalStateError):  # of an older generation, or no answer: aiokafka joins again by itself
            return
        if self.share is share and self._generation() == share.epoch:
            self._lease.proved(asked_s)

    def _owns(self, partition: int) -> bool:
        return partition in self.share.partitions and self._generation() == self.share.epoch

    def _generation(self) -> int:
        """The group generation this process is a member of at this moment; -1: of none. aiokafka has no public word
        for it, and sets it as soon as the broker's answer to joining, or that it is a member no more, has come."""
        if self._consumer is None or self._consumer._coordinator is None:
            return -1
        return int(self._consumer._coordinator.generation)

    def _take(self, share: Share) -> None:
        self._lease.end()
        self.share = share
        self._changed(share)

    def _revoked(self) -> None:
        """The group is being shared out anew. What is owned stays owned while the generation is this one: nobody
        gets anything before every member is heard or given up."""
        self._rejoining = True

    def _assigned(self, partitions: Iterable[int]) -> None:
        self._rejoining = False
        self._take(Share(self._generation(), frozenset(partitions)))
        self._prove_now.set()
        telemetry.info("partitions_owned", epoch=self.share.epoch, partitions=sorted(self.share.partitions))


class _Listener(ConsumerRebalanceListener):
    def __init__(self, group: KafkaGroup) -> None:
        self._group = group

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self._group._revoked()

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._group._assigned(place.partition for place in assigned)


class _Assignor(AbstractPartitionAssignor):
    """Carries shares.py to aiokafka. Each member claims what it owns; the one that decides hears all claims.

    aiokafka's methods are of the class; it calls them on what it was given, and here that is one member's own."""

    name = "streamkit"

    def __init__(self, group: KafkaGroup) -> None:
        self._group = group

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:  # type: ignore[override]
        claim = msgspec.json.encode(self._group.share)
        return ConsumerProtocolMemberMetadata(_VERSION, list(topics), claim)

    def assign(  # type: ignore[override]
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        claims = {member: _claim(metadata.user_data) for member, metadata in members.items()}
        shares = share_out(claims, len(cluster.partitions_for_topic(EVENTS) or ()))
        return {
            member: ConsumerProtocolMemberAssignment(_VERSION, [(EVENTS, sorted(partitions))], b"")
            for member, partitions in shares.items()
        }

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:  # type: ignore[override]
        """At once, before anything is fetched: records are read by the log's own consumers."""
        consumer = self._group._consumer
        if consumer is not None:
            consumer.pause(*assignment.partitions())


def _claim(user_data: bytes) -> Share:
    try:
        return _share.decode(user_data)
    except UNREADABLE:
        return Share()
