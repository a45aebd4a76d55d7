"""A projector that shares the partitions with others over Kafka, put together: group, ownership, snapshots."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from projector.keeping import Keeper
from projector.ownership import Ownership
from projector.run import Projector
from streamkit.lifecycle import Watch
from streamkit.log.shares import Tenure
from streamkit.settings import Settings

GROUP = "streamkit.projectors."
"""The consumer group's id begins so; the log's id follows."""


def share_partitions(
    stack: AsyncExitStack,
    watch: Watch,
    projector: Projector,
    settings: Settings,
    name: str,
    ready: Callable[[], Awaitable[None]],
) -> tuple[Tenure, Callable[[], list[str]]]:
    """Join the group of the log's projectors as `name` until the stack closes; `projector` owns nothing yet. Gives back by what
    right it answers, and what is not as it should be. Returns at once: partitions come as the group gives them, once
    `ready` returns, which is when the operators' commands up to now are known."""
    from streamkit.log.kafka_group import KafkaGroup

    ownership = Ownership(projector, settings.snapshot_dir, ready=ready, taken=lambda: group.prove())
    group = KafkaGroup(
        settings.log_url.removeprefix("kafka://"),
        GROUP + projector.log_id,
        name,
        positions=projector.positions,
        changed=ownership.shared,
    )
    if settings.snapshots_are_shared:
        watch.start(stack, "snapshots", Keeper(projector, settings.snapshot_dir, group).run())
    watch.start(stack, "ownership", ownership.run())
    watch.start(stack, "group", group.run())
    return group, ownership.readiness
