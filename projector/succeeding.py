"""A projector that follows the generations, put together: the live one at its start, changes, its own upgrade."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

from projector.commands import Commands
from projector.generations import Succession
from projector.rebuild import Plan
from projector.run import Projector
from projector.shelf import Shelf
from projector.upgrade import Upgrade
from schemas.control import GenerationDropped, GenerationPromoted, GenerationStarted
from streamkit.lifecycle import Watch
from streamkit.log.protocol import EventLog
from streamkit.settings import Settings

BY = "streamkit"
"""Who acts, when no operator does."""


def plan_of(settings: Settings, *, by: str, why: str | None = None, workers: int | None = None) -> Plan:
    """What a rebuild needs to know of the deployment."""
    return Plan(
        log_url=settings.log_url,
        data_dir=settings.data_dir,
        snapshot_dir=settings.snapshot_dir,
        publishes=settings.snapshots_are_shared,
        kept=settings.generations_kept,
        by=by,
        why=why,
        workers=workers,
    )


def shelf_of(settings: Settings, log_id: str) -> Shelf:
    """The generations in the deployment's data folder."""
    return Shelf(settings.data_dir, settings.snapshot_dir, log_id)


def projector_of(
    commands: Commands, log: EventLog, settings: Settings, partitions: Sequence[int] | None
) -> tuple[Projector, Succession]:
    """A projector, not started, whose partitions go where the control topic's events send them. `partitions` are those
    taken at its start (None: all); it is started when `commands` is ready."""
    succession = Succession(log, shelf_of(settings, log.log_id), commands.ready)
    commands.on(GenerationStarted, succession.on_started)
    commands.on(GenerationPromoted, succession.on_promoted)
    commands.on(GenerationDropped, succession.on_dropped)
    return Projector(log, settings.data_dir, partitions=partitions, succession=succession), succession


async def keep_current(
    stack: AsyncExitStack, watch: Watch, log: EventLog, projector: Projector, succession: Succession, settings: Settings
) -> Callable[[], list[str]]:
    """Delete what was dropped, and build anew when the read models have risen, until the stack closes. Gives back what is
    not as it should be, as sentences."""
    await succession.sweep()
    why = "the read models of this build have risen"
    upgrade = Upgrade(
        log, projector, succession, plan_of(settings, by=BY, why=why), automatic=settings.rebuild == "auto"
    )
    watch.start(stack, "upgrade", upgrade.run())
    return lambda: [*succession.readiness(), *upgrade.readiness()]
