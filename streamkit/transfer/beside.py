"""Blocking work of one thread beside the event loop, a step ahead of it: read the next while this one is used."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


class Beside:
    """One call at a time in a thread: `start` it, then await `done`. As a context: it ends when the call has."""

    def __init__(self) -> None:
        self._call: asyncio.Future[Any] | None = None

    async def __aenter__(self) -> Beside:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._call is not None:  # a thread cannot be cancelled: what it uses is closed next
            await asyncio.wait({self._call})

    def start(self, work: Callable[..., Any], *arguments: Any) -> None:
        """Begin; the call before is `done`."""
        self._call = asyncio.get_running_loop().run_in_executor(None, work, *arguments)

    async def done(self) -> Any:
        """What the call gave back, None when there was none; raises what it raised."""
        if self._call is None:
            return None
        answer = await asyncio.shield(self._call)
        self._call = None
        return answer


async def ahead(items: Iterator[T]) -> AsyncGenerator[T, None]:
    """The items of a blocking iterator; close it (contextlib.aclosing) when it is not read to its end."""
    async with Beside() as thread:
        thread.start(next, items, None)
        while (item := await thread.done()) is not None:
            thread.start(next, items, None)
            yield item
