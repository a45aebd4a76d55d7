"""Long work on a file beside its folding and its questions: on a thread of its own that yields to them.

What may not live here: what the work is.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import duckdb

from projector.session import Session

T = TypeVar("T")

NICENESS = 10
_ASKED_AGAIN_S = 0.05


class Aside:
    """One thread, and on it one piece of work at a time, each with a session of its own."""

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name, initializer=_yield_to_others)
        self._session: Session | None = None

    async def run(self, open_session: Callable[[], Session], work: Callable[[Session], T]) -> T:
        """Run `work` on what `open_session` gives. Raises duckdb.InterruptException when `end` cut it short. Cancellation
        abandons the wait, not the work."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, open_session, work)

    def _run(self, open_session: Callable[[], Session], work: Callable[[Session], T]) -> T:
        self._session = open_session()
        try:
            return work(self._session)
        finally:
            session, self._session = self._session, None
            session.close()

    def end(self) -> None:
        """Cut short what runs and what waits; returns when no session is open. Blocks."""
        idle = self._thread.submit(threading.get_ident)
        while True:
            session = self._session
            if session is not None:
                with contextlib.suppress(duckdb.Error):  # closed in this moment
                    session.interrupt()  # again and again: between two statements it does nothing
            with contextlib.suppress(TimeoutError):
                idle.result(timeout=_ASKED_AGAIN_S)
                return

    def close(self) -> None:
        """`end`, and no more after; idempotent."""
        with contextlib.suppress(RuntimeError):  # closed already
            self.end()
        self._thread.shutdown(wait=True)


def _yield_to_others() -> None:
    """On Linux a thread has a niceness of its own; elsewhere it stays as it is."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
