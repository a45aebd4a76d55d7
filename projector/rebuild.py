"""A new generation of read models, folded from the log beside the live one and, when asked to, promoted.

Each partition is folded by a process of its own (rebuild_worker.py), as many at a time as there are processors. Killed at any
moment, the next rebuild goes on where the files stand. What may not live here: how it is shown.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from projector.rebuild_worker import Done, Order
from projector.recipes import versions_of
from projector.shelf import Shelf
from schemas.control import ControlEvent, GenerationDropped, GenerationPromoted, GenerationStarted
from schemas.event import utc_now
from schemas.read_models import READ_MODELS
from streamkit.generations import Generations, tell
from streamkit.log.protocol import EVENTS, EventLog
from streamkit.rebuilding import RebuildFailed, Rebuilding, Share

_PROGRAM = """
__file__ = "rebuild"
import os
os.nice(19)
if hasattr(os, "SCHED_IDLE"):  # Linux
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
from projector.rebuild_worker import main
main()
"""
"""It gives way from its first import on. Without a file's name DuckDB takes it for a prompt, and draws progress bars."""

_GRACE_S = 3.0
"""For the batch under way, when a worker is told to end."""


class Plan(Struct, frozen=True, kw_only=True):
    """Where and by whom. `publishes`: with a snapshot of each file, for projectors elsewhere. `kept`: how many
    generations stay after a promotion, the live one among them."""

    log_url: str
    data_dir: Path
    snapshot_dir: Path
    publishes: bool
    kept: int
    by: str
    why: str | None = None
    workers: int | None = None


async def rebuild(log: EventLog, plan: Plan, *, promote: bool, told: Callable[[Rebuilding], None]) -> Rebuilding:
    """Fold a new generation, or go on with one that was broken off; what `told` was given last, when it is whole.

    Raises RebuildFailed (a partition cannot be folded; the sentence says why), RebuildUnderWay, LogUnavailable.
    Cancellation ends the workers; nothing that they committed is lost.
    """
    shelf, generations = Shelf(plan.data_dir, plan.snapshot_dir, log.log_id), Generations()
    await generations.catch_up(log)
    versions = versions_of(READ_MODELS)
    number = await _number(log, plan, shelf, generations, versions)
    work = _Work(plan, shelf, number, log.partitions(EVENTS), told)
    try:
        with shelf.built(number, versions):
            await work.run()
            if promote:
                await promote_generation(log, generations, number, plan)
    except OSError as error:
        raise RebuildFailed(
            f"Generation {number} cannot be built in {plan.data_dir} ({error.strerror}): is there room on the disk?"
        ) from error
    return work.state(done=True, promoted=promote)


async def _number(log: EventLog, plan: Plan, shelf: Shelf, generations: Generations, versions: dict[str, int]) -> int:
    """Of the generation that was broken off, when this build can go on with it, else of a new one."""
    for one in reversed(generations.standing):
        if one.versions == versions and shelf.building(one.id) is not None and not generations.was_promoted(one.id):
            return one.id
    while True:
        number, at = generations.next_id, utc_now()
        started = GenerationStarted(at=at, by=plan.by, why=plan.why, generation=number, versions=versions)
        await tell(log, generations, started)
        own = generations.find(number)
        if own is not None and (own.started_at, own.by) == (at, plan.by):
            return number


async def promote_generation(log: EventLog, generations: Generations, number: int, plan: Plan) -> list[int]:
    """Make it the live one, and drop what need not be kept any more: those. Raises LogUnavailable."""
    await tell(log, generations, GenerationPromoted(at=utc_now(), by=plan.by, why=plan.why, generation=number))
    beyond = generations.beyond(plan.kept) if generations.live == number else []
    why = f"generation {number} was promoted; {plan.kept} are kept"
    drops: list[ControlEvent] = [GenerationDropped(at=utc_now(), by=plan.by, why=why, generation=one) for one in beyond]
    if drops:
        await tell(log, generations, *drops)
    return beyond


class _Work:
    """The workers of one rebuild, and how far they are."""

    def __init__(
        self, plan: Plan, shelf: Shelf, generation: int, partitions: int, told: Callable[[Rebuilding], None]
    ) -> None:
        self._plan = plan
        self._shelf = shelf
        self._generation = generation
        self._told = told
        self._done: dict[int, Done | None] = dict.fromkeys(range(partitions))
        self._began_s = time.monotonic()
        # One processor is left to the live reads: beside as many workers as processors their p99 is 2.1 times as long.
        self._at_once = asyncio.Semaphore(plan.workers or max(1, (os.cpu_count() or 1) - 1))

    def state(self, *, done: bool = False, promoted: bool = False) -> Rebuilding:
        """As of now."""
        known = {partition: one for partition, one in self._done.items() if one is not None}
        folded = sum(one.folded for one in known.values())
        left = sum(max(0, one.end - one.position) for one in known.values())
        took_s = time.monotonic() - self._began_s
        rate = folded / max(took_s, 0.001)
        all_known = len(known) == len(self._done)
        return Rebuilding(
            generation=self._generation,
            events=sum(one.position for one in known.values()),
            events_per_s=round(rate),
            folded=folded,
            eta_s=0.0 if done else round(left / rate, 1) if rate and all_known else None,
            took_s=round(took_s, 2),
            partitions={str(p): Share(one.position, one.end) for p, one in sorted(known.items())},
            done=done,
            promoted=promoted,
        )

    async def run(self) -> None:
        """Returns when every partition is whole."""
        try:
            async with asyncio.TaskGroup() as group:
                for partition in self._done:
                    group.create_task(self._one(partition), name=f"rebuild {partition}")
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None

    async def _one(self, partition: int) -> None:
        async with self._at_once:
            order = Order(
                log_url=self._plan.log_url,
                data_dir=str(self._plan.data_dir.resolve()),
                path=str(self._shelf.path(self._generation, partition).resolve()),
                partition=partition,
                snapshots=str(self._shelf.snapshots(self._generation).resolve()) if self._plan.publishes else None,
            )
            worker = await _start()
            try:
                await self._follow(worker, order)
            finally:
                await _surely(_end(worker))

    async def _follow(self, worker: asyncio.subprocess.Process, order: Order) -> None:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(msgspec.json.encode(order) + b"\n")
        async for line in worker.stdout:
            done = msgspec.json.decode(line, type=Done)
            if done.error is not None:
                raise RebuildFailed(done.error)
            self._done[order.partition] = done
            self._told(self.state())
            if done.whole:
                return
        raise RebuildFailed(
            f"The process that folded partition {order.partition} ended before it was done; the same command goes on."
        )


async def _start() -> asyncio.subprocess.Process:
    """In a session of its own (uvloop makes no process groups): Ctrl-C in a terminal is for this process, also while that one
    is being imported."""
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-c", _PROGRAM)
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, start_new_session=True)
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:  # asyncio would lose sight of the process
        await _end(await starting)
        raise


async def _surely(work: Coroutine[Any, Any, None]) -> None:
    """To its end, also when cancelled."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


async def _end(worker: asyncio.subprocess.Process) -> None:
    """Its file is closed when this returns."""
    assert worker.stdin is not None
    worker.stdin.close()
    try:
        async with asyncio.timeout(_GRACE_S):
            await worker.wait()
    except TimeoutError:
        worker.kill()
        await worker.wait()
