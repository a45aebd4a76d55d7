"""`ReadModels` in the process that owns the files: waits for a position, then answers on a reader thread."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import duckdb

from projector.answers import answer
from projector.database import READERS, Database
from schemas.errors import Retry
from streamkit import telemetry
from streamkit.log.protocol import partition_of
from streamkit.reads import Answer, Change, Question

REHEARSED = 12
"""Questions of a partition that are remembered."""

RENEWED_IN_S = 30
"""How long whoever asks what an older file cannot answer is told to wait."""

_Waiter = tuple[int, int, asyncio.Future[None]]


class Reads:
    """Answers for the partitions that are served here; `partitions` is the topic's count."""

    def __init__(self, *, partitions: int, on_change: Callable[[Callable[[Change], None]], None]) -> None:
        self._files: dict[int, Database] = {}
        self._partitions = partitions
        self._on_change = on_change
        self._positions: dict[int, int] = {}
        self._waiters: dict[int, list[_Waiter]] = {}
        self._order = itertools.count()
        self._lately: dict[int, deque[tuple[int, Sequence[Question]]]] = {}

    async def ask(
        self, user_id: int, questions: Sequence[Question], *, min_position: int = 0, wait_s: float = 0.0
    ) -> Answer:
        """Answer from one snapshot, at `min_position` or later; waits up to `wait_s` seconds for it.

        Raises Retry when the position is not reached in time or this projector does not own the partition, KeyError
        for a name that is no query. Cancellation abandons the wait.
        """
        partition = self.partition_of(user_id)
        if partition not in self._positions:
            raise Retry(f"No projector here serves partition {partition}; ask the one that owns it.")
        await self._reached(partition, min_position, wait_s)
        file = self._files.get(partition)  # looked up only now: while it waited, another may have taken its place
        if file is None:
            raise Retry(f"Partition {partition} is served here no more; ask again.")
        self._lately[partition].append((user_id, questions))
        with telemetry.READ_SECONDS.time():
            position, rows = await self._answer(file, user_id, questions)
        return Answer(partition=partition, position=position, rows=rows)

    async def _answer(self, file: Database, user_id: int, questions: Sequence[Question]) -> tuple[int, list[list[Any]]]:
        work = partial(answer, user_id=user_id, questions=questions, is_current=file.is_current)
        try:
            return await file.read(work)
        except (duckdb.BinderException, duckdb.CatalogException):
            if file.is_current:
                raise
            raise Retry(
                "These read models are of an older version and are being folded anew; ask again later.", RENEWED_IN_S
            ) from None

    def partition_of(self, user_id: int) -> int:
        """The partition in which the broadcaster's events lie."""
        return partition_of(str(user_id), self._partitions)

    def owns(self, partition: int) -> bool:
        """Whether this projector answers for the partition."""
        return partition in self._positions

    def position(self, partition: int) -> int:
        """The position up to which the partition is folded. Raises KeyError for one that is not owned."""
        return self._positions[partition]

    def on_change(self, callback: Callable[[Change], None]) -> None:
        """Call `callback` on the event loop after each commit; it must not block."""
        self._on_change(callback)

    def serve(self, partition: int, file: Database) -> None:
        """Answer from `file` from now on; `moved` comes next, with its position. Questions under way end on the file
        that they began on."""
        self._files[partition] = file
        self._waiters.setdefault(partition, [])
        self._lately.setdefault(partition, deque(maxlen=REHEARSED))

    async def rehearse(self, partition: int, file: Database) -> None:
        """Ask `file` what the partition was asked lately, so that the first questions after it has taken the other one's place
        do not wait for its statements to be parsed and its tables to be read."""
        for user_id, questions in list(self._lately.get(partition, ())):
            with contextlib.suppress(Retry, duckdb.Error):
                await asyncio.gather(*(self._answer(file, user_id, questions) for _ in range(READERS)))

    def forget(self, partition: int) -> None:
        """Answer for the partition no more: whoever waits gets Retry at once. Idempotent."""
        self._positions.pop(partition, None)
        self._files.pop(partition, None)
        for _, _, reached in self._waiters.pop(partition, []):
            if not reached.done():
                reached.set_exception(Retry(f"Partition {partition} is served here no more; ask again."))

    def moved(self, change: Change) -> None:
        """The projector's word that a commit happened: whoever waited for it goes on."""
        if change.partition not in self._files:
            return
        self._positions[change.partition] = change.position
        waiters = self._waiters[change.partition]
        while waiters and waiters[0][0] <= change.position:
            _, _, reached = heapq.heappop(waiters)
            if not reached.done():
                reached.set_result(None)

    def close(self) -> None:
        """Whoever waits gets Retry at once."""
        for partition in list(self._files):
            self.forget(partition)

    async def _reached(self, partition: int, position: int, wait_s: float) -> None:
        if self._positions[partition] >= position:
            return
        behind = Retry(f"Partition {partition} has not reached position {position} yet; ask again.")
        if wait_s <= 0:
            raise behind
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiters[partition], (position, next(self._order), reached))
        try:
            async with asyncio.timeout(wait_s):
                await reached
        except TimeoutError:
            raise behind from None
