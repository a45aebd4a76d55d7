"""A log whose broker was away when the process started: known by a copy, and opened as soon as it answers.

What may not live here: what is done meanwhile with events; that is the spool's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from schemas.errors import LogClosed, LogMisconfigured, LogUnavailable
from streamkit import telemetry
from streamkit.log.protocol import EVENTS, Appended, Batch, EventLog, PartitionInfo, Record

_RETRY_FIRST_S = 0.2
_RETRY_LAST_S = 2.0

Open = Callable[[], Awaitable[EventLog]]
"""Opens the log itself; raises LogUnavailable while it is away."""


class LateLog:
    """An EventLog that raises LogUnavailable until `run` has opened the log itself."""

    def __init__(self, log_id: str, partitions: int, open_: Open) -> None:
        """What the copy tells of the log: its id, and how many partitions its events have."""
        self._log_id = log_id
        self._partitions = partitions
        self._open = open_
        self._log: EventLog | None = None
        self._closed = False

    async def run(self) -> None:
        """Try to open the log until it is open. A task of the process: what it raises must end that.

        Raises LogMisconfigured when it is another log than the one that the copy was made of.
        """
        pause_s = _RETRY_FIRST_S
        while not self._closed:
            try:
                log = await self._open()
            except LogUnavailable as error:
                telemetry.warn("log.unavailable", reason=str(error), retry_in_s=pause_s)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _RETRY_LAST_S)
                continue
            if (log.log_id, log.partitions(EVENTS)) != (self._log_id, self._partitions):
                await log.close()
                raise LogMisconfigured(
                    f"The event log that answers now is another one ({log.log_id}) than this process was started for "
                    f"({self._log_id}): set STREAMKIT_LOG_URL to the right one, or start again to use the new one. What "
                    "was taken meanwhile stays in the spool of the data folder."
                )
            self._log = log
            telemetry.info("log.opened", log_id=log.log_id)
            return

    def reasons(self) -> list[str]:
        """Why the process is degraded, a sentence; empty once the log is open."""
        if self._log is not None:
            return []
        return ["The event log has not answered since the start: accounts and credentials are those of the copy here."]

    @property
    def log_id(self) -> str:
        """The log's id, as the copy tells it."""
        return self._log_id

    def partitions(self, topic: str) -> int:
        """How many partitions the topic has."""
        return self._partitions if topic == EVENTS else 1

    async def append(self, topic: str, records: Sequence[Record]) -> list[Appended]:
        """As the log's own; raises LogUnavailable at once until it is open."""
        return await self._opened().append(topic, records)

    async def read(self, topic: str, partition: int, position: int, *, limit: int = 1000, wait_s: float = 0.0) -> Batch:
        """As the log's own; raises LogUnavailable at once until it is open."""
        return await self._opened().read(topic, partition, position, limit=limit, wait_s=wait_s)

    async def ends(self, topic: str) -> tuple[int, ...]:
        """As the log's own; raises LogUnavailable at once until it is open."""
        return await self._opened().ends(topic)

    async def info(self) -> list[PartitionInfo]:
        """As the log's own; raises LogUnavailable at once until it is open."""
        return await self._opened().info()

    async def close(self) -> None:
        """Close the log if it was opened; idempotent. `run` has ended before."""
        self._closed = True
        if self._log is not None:
            await self._log.close()

    def _opened(self) -> EventLog:
        if self._closed:
            raise LogClosed("The event log is closed; open it again to go on.")
        if self._log is None:
            raise LogUnavailable("The event log has not answered yet: check that the broker runs and can be reached.")
        return self._log
