"""Work that one process of the deployment does once in each stretch of time, and at once when its matter changes.

What may not live here: what the work is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from datetime import datetime
from typing import Any

from schemas.event import utc_now
from streamkit.leases import BEAT_S, Leases

_WORK = "round"


class Rounds:
    """`look(at)` is called once in each `every_s` seconds of the clock, never twice at a time; what it raises ends `run`.

    `matter` gives what it is about; the owner calls `changed` when that may have changed.
    """

    def __init__(
        self,
        leases: Leases,
        every_s: int,
        look: Callable[[datetime], Coroutine[Any, Any, None]],
        matter: Callable[[], Hashable],
    ) -> None:
        self._leases = leases
        self._every_s = every_s
        self._look = look
        self._matter = matter
        self._about = matter()
        self._wake = asyncio.Event()
        self.leads = False
        """Whether this process is the one that does it."""

    def changed(self) -> None:
        """Look at once, if it is about something else than before. For callbacks: does not block."""
        about = self._matter()
        if about != self._about:
            self._about = about
            self._wake.set()

    async def run(self) -> None:
        """For the life of the process; a task of its own."""
        work: asyncio.Task[None] | None = None
        last: int | None = None
        try:
            while True:
                self.leads = await self._leases.lead(_WORK, held=self.leads)
                at = utc_now()
                now = int(at.timestamp()) // self._every_s
                if self.leads and work is None and (now != last or self._wake.is_set()):
                    self._wake.clear()
                    last, work = now, asyncio.create_task(self._look(at), name="a round of polls")
                await self._rest(work)
                if work is not None and work.done():
                    work.result()
                    work = None
        finally:
            if work is not None:
                work.cancel()
                await asyncio.wait([work])
            await self._leases.leave([_WORK])

    async def _rest(self, work: asyncio.Task[None] | None) -> None:
        if work is None and not self.leads:  # what changes is the leader's to look at
            await asyncio.sleep(BEAT_S)
        else:
            await until_done_or_woken(work, self._wake)


async def until_done_or_woken(work: asyncio.Task[Any] | None, wake: asyncio.Event) -> None:
    """Wait until the work ends, or without any until something changes; no longer than until the next beat."""
    waiter: asyncio.Task[Any] = work or asyncio.create_task(wake.wait())
    try:
        await asyncio.wait([waiter], timeout=BEAT_S)
    finally:
        if work is None:
            waiter.cancel()
            await asyncio.wait([waiter])
