"""Operators' commands to the projector: events of the control topic, there is no other way in.

What may not live here: what a command does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from schemas.control import ControlEvent, decode_control
from schemas.errors import UNREADABLE, LogUnavailable
from streamkit import telemetry
from streamkit.log.protocol import CONTROL, Batch, EventLog

WAIT_S = 5.0
RETRY_S = 1.0

E = TypeVar("E", bound=ControlEvent)


class Commands:
    """Follows the control topic from its beginning and calls the handler of each kind, in log order, one at a time.

    A handler sees the past too (`is_past`: it lay on the log before `follow` began); one that takes long starts a task
    of its own. What a handler raises is logged, and the next command goes on.
    """

    def __init__(self, log: EventLog, copy: Callable[[], AsyncIterator[Batch]] | None = None) -> None:
        """`copy` is the beginning of the topic as it was, for a start while the log is away (None: it is waited for)."""
        self._log = log
        self._copy = copy
        self._handlers: dict[type[ControlEvent], Callable[[ControlEvent, bool], Awaitable[None]]] = {}
        self._ready = asyncio.Event()

    def on(self, kind: type[E], handler: Callable[[E, bool], Awaitable[None]]) -> None:
        """Call `handler(event, is_past)` for each event of the kind; before `follow`."""
        assert kind not in self._handlers, f"{kind.__name__} has a handler"
        self._handlers[kind] = handler  # type: ignore[assignment, index]

    async def ready(self) -> None:
        """Returns when the handlers have seen all that was on the topic, or in its copy, when `follow` began."""
        await self._ready.wait()

    async def follow(self) -> None:
        """Keep up with the topic until cancelled; a log that is away is asked again every second. Raises LogClosed."""
        position, past = 0, None
        while True:
            try:
                if past is None:
                    (past,) = await self._log.ends(CONTROL)
                if position >= past:
                    self._ready.set()
                batch = await self._log.read(CONTROL, 0, position, wait_s=WAIT_S)
            except LogUnavailable:
                if past is None and self._copy is not None:
                    past = position = await self._from_copy(self._copy)
                    self._ready.set()
                await asyncio.sleep(RETRY_S)
                continue
            for at, value in zip(batch.positions, batch.values, strict=True):
                await self._handle(value, at < past)
            position = batch.next_position

    async def _from_copy(self, copy: Callable[[], AsyncIterator[Batch]]) -> int:
        """Where to read on."""
        position = 0
        async for batch in copy():
            for value in batch.values:
                await self._handle(value, True)
            position = batch.next_position
        return position

    async def _handle(self, value: bytes, is_past: bool) -> None:
        try:
            event = decode_control(value)
        except UNREADABLE:
            return  # of a newer build, or damaged: the directory has told of it
        handler = self._handlers.get(type(event))
        if handler is None:
            return
        try:
            await handler(event, is_past)
        except Exception:  # one command that fails must not end the others
            telemetry.error("command_failed", command=type(event).__name__, exc_info=True)
