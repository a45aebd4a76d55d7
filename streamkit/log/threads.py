"""How a log in a file takes work from an event loop: a thread that writes in groups and a thread that reads.

The loop only queues and awaits. What comes in one turn of the loop, or while a commit runs, becomes one commit (group
commit): the thread is woken once for all of it, and one call into the loop answers all of it. Reads that find nothing
wait in the reading thread, which looks again after a commit of this process to their topic at once, and every 20 ms
for one of another process, while somebody waits. Each waking of a thread costs a busy loop Python's lock: so none is
woken without work. What may not live here: SQL.
"""

from __future__ import annotations

import asyncio
import copy
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, Protocol

from schemas.errors import LogClosed
from streamkit.log.protocol import Appended, Batch, Record

_POLL_S = 0.02


class Append(NamedTuple):
    """An append on its way."""

    topic: str
    records: Sequence[Record]
    future: asyncio.Future[list[Appended]]


class Read(NamedTuple):
    """A read on its way; `deadline` is on time.monotonic's clock."""

    topic: str
    partition: int
    position: int
    limit: int
    deadline: float
    future: asyncio.Future[Batch]


class Ask(NamedTuple):
    """Any other question to the reading connection."""

    question: Callable[[], Any]
    future: asyncio.Future[Any]


class Database(Protocol):
    """One connection to the file, used by one thread. What it raises goes to those who asked."""

    def commit(self, group: Sequence[Append]) -> list[list[Appended]]:
        """Write a group in one durable transaction; on an error nothing of it is written."""

    def read(self, read: Read) -> Batch:
        """What is there now."""

    def version(self) -> int:
        """Changes whenever another connection has committed."""

    def close(self) -> None:
        """Close the connection."""


class Writer(threading.Thread):
    """One commit for everything that was appended during the one before. All but `run` belong to the event loop."""

    def __init__(
        self, database: Database, loop: asyncio.AbstractEventLoop, committed: Callable[[set[str]], None]
    ) -> None:
        """`committed` is called, in this thread, after each commit with the topics it wrote to."""
        super().__init__(name="log-writer", daemon=True)
        self._database = database
        self._loop = loop
        self._committed = committed
        self._groups: SimpleQueue[list[Append] | None] = SimpleQueue()
        self._next: list[Append] = []
        self._handing_over = False

    def append(self, topic: str, records: Sequence[Record]) -> asyncio.Future[list[Appended]]:
        """Have the records written; the future has what became of them."""
        future: asyncio.Future[list[Appended]] = self._loop.create_future()
        self._next.append(Append(topic, records, future))
        if not self._handing_over:
            self._handing_over = True
            self._loop.call_soon(self._hand_over)
        return future

    def end(self) -> None:
        """End the thread, after the appends that came before."""
        self._hand_over()
        self._groups.put(None)

    def run(self) -> None:
        """The thread's own; use `start`."""
        while (group := self._groups.get()) is not None:
            answer: list[list[Appended]] | Exception
            try:
                answer = self._database.commit(group)
            except Exception as error:
                answer = error
            else:
                self._committed({append.topic for append in group})
            _call(self._loop, self._answer, group, answer)
        self._database.close()

    def _hand_over(self) -> None:
        """Give the thread all that has come. At most one group is with it: meanwhile the next one grows."""
        if self._next:
            self._groups.put(self._next)
            self._next = []
        else:
            self._handing_over = False

    def _answer(self, group: list[Append], answer: list[list[Appended]] | Exception) -> None:
        self._hand_over()
        _settle([append.future for append in group], answer)


class Reader(threading.Thread):
    """Answers reads and questions. Ends after a None in its queue; those who still wait get LogClosed."""

    def __init__(self, database: Database, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(name="log-reader", daemon=True)
        self.queue: SimpleQueue[Read | Ask | str | None] = SimpleQueue()
        self._database = database
        self._loop = loop
        self._waiting: list[Read] = []
        self._seen_version = -1

    def nudge(self, topics: set[str]) -> None:
        """Have the reads that wait for one of `topics` look again; called by the writer after a commit."""
        if any(read.topic in topics for read in self._waiting):
            self.queue.put("nudge")

    def run(self) -> None:
        """The thread's own; use `start`."""
        while True:
            try:
                item = self.queue.get(timeout=_POLL_S if self._waiting else None)
            except Empty:
                item = "nudge"
            if item is None:
                break
            if isinstance(item, Read):
                if not self._answer(item):
                    self._waiting.append(item)
            elif isinstance(item, Ask):
                self._try(item.future, item.question)
            if self._waiting:  # also after a read was added: a commit may have come right before it
                self._look_again()
        closed = LogClosed("The event log was closed while a reader waited.")
        _post(self._loop, [read.future for read in self._waiting], closed)
        self._database.close()

    def _look_again(self) -> None:
        try:
            version = self._database.version()
        except Exception:  # then each read is told so itself
            version = -1
        changed = version != self._seen_version or version == -1
        self._seen_version = version
        now = time.monotonic()
        self._waiting = [
            read
            for read in self._waiting
            if not read.future.done() and not ((changed or read.deadline <= now) and self._answer(read))
        ]

    def _answer(self, read: Read) -> bool:
        """False when there is nothing yet and the read may wait."""
        try:
            batch = self._database.read(read)
        except Exception as error:
            _post(self._loop, [read.future], error)
            return True
        if not batch.positions and time.monotonic() < read.deadline:
            return False
        _post(self._loop, [read.future], [batch])
        return True

    def _try(self, future: asyncio.Future[Any], question: Callable[[], Any]) -> None:
        answer: list[Any] | Exception
        try:
            answer = [question()]
        except Exception as error:
            answer = error
        _post(self._loop, [future], answer)


def _post(loop: asyncio.AbstractEventLoop, futures: list[asyncio.Future[Any]], answer: list[Any] | Exception) -> None:
    """Have the loop give each future its result, or all of them the error."""
    _call(loop, _settle, futures, answer)


def _call(loop: asyncio.AbstractEventLoop, callback: Callable[..., None], *arguments: Any) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody is there to hear it
        loop.call_soon_threadsafe(callback, *arguments)


def _settle(futures: list[asyncio.Future[Any]], answer: list[Any] | Exception) -> None:
    for nth, future in enumerate(futures):
        if future.done():
            continue
        if isinstance(answer, Exception):
            future.set_exception(copy.copy(answer))  # each with a traceback of its own
        else:
            future.set_result(answer[nth])
