"""How a process starts, serves HTTP and stops: in dependency order, in reverse, within one grace budget.

`serve` puts an application behind limits that no client can sit on: a connection whose headers are not complete in
15 s is closed, an idle one after 75 s. `run_until_signalled` is the frame of every long-running command. What may
not live here: anything that knows a room.
"""

from __future__ import annotations

import asyncio
import atexit
import errno
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

from aiohttp import web

from schemas.errors import Stop, StreamkitError
from streamkit import telemetry
from streamkit.connection import MAX_HEADER_BYTES, MAX_HEADERS, Connection, name_server

KEEPALIVE_S = 75.0
"""Longer than the 60 s of common reverse proxies, so that they and not we close an idle connection."""
LINGER_S = 5.0
GRACE_S = 8.0
"""For the whole stop: requests under way, then the rooms in reverse. The promise outside is 10 s."""
COLLECT_AT = (20_000, 10, 10)
"""The collector's thresholds once a process serves: new containers, then collections of the generation below."""


class Server:
    """A listening HTTP server. `url` is its address with the port it really got."""

    def __init__(self, runner: web.AppRunner, listener: asyncio.Server, url: str) -> None:
        self._runner = runner
        self._listener = listener
        self.url = url

    async def close(self) -> None:
        """Stop listening, let the requests under way finish within the grace given to `serve`, then cut them."""
        self._listener.close()
        await self._runner.cleanup()


async def serve(app: web.Application, host: str, port: int, *, grace_s: float = 4.0) -> Server:
    """Listen on `host`:`port` (0 picks a port). Raises Stop when the address is in use or not ours."""
    app.on_response_prepare.append(name_server)
    # aiohttp waits its timeout twice: for the handler to end, then for the cancelled one.
    runner = web.AppRunner(app, shutdown_timeout=grace_s / 2)
    await runner.setup()
    manager = runner.server
    assert manager is not None
    loop = asyncio.get_running_loop()

    def connection() -> Connection:
        return Connection(
            manager,
            loop=loop,
            keepalive_timeout=KEEPALIVE_S,
            access_log=None,  # type: ignore[arg-type]
            lingering_time=LINGER_S,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            max_headers=MAX_HEADERS,
            auto_decompress=False,  # signatures are over the bytes as sent
        )

    try:
        listener = await loop.create_server(connection, host, port, backlog=1024)
    except OSError as exc:
        await runner.cleanup()
        raise Stop(_cannot_listen(host, port, exc)) from exc
    bound_port = listener.sockets[0].getsockname()[1]
    return Server(runner, listener, f"http://{f'[{host}]' if ':' in host else host}:{bound_port}")


def _cannot_listen(host: str, port: int, exc: OSError) -> str:
    if exc.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is in use: stop what listens there, or choose another with --port (0 picks one)."
    if exc.errno == errno.EACCES:
        return f"This user may not listen on port {port}: choose one above 1023 with --port."
    return f"Cannot listen on {host}:{port}: {exc.strerror or exc}."


def spare_what_stands() -> None:
    """Take what was made until now out of the garbage collector's sight, and have it look less often.

    For a process whose start is complete. No request leaves a cycle behind, so what the collector went through, again
    and again while requests were under way, was the program itself.
    """
    gc.collect()
    gc.freeze()
    atexit.register(
        gc.unfreeze
    )  # else what extension modules hold in cycles is told of as leaked when they are unloaded
    gc.set_threshold(*COLLECT_AT)


Start = Callable[[AsyncExitStack], Awaitable[str]]
"""Starts the rooms in dependency order, pushing each one's close on the stack; gives back the URL served."""

Ready = Callable[[str], None]
"""Called once when the process serves, with its URL."""


class Watch:
    """Background tasks whose death is the process's: the first that fails wakes `failed`."""

    def __init__(self) -> None:
        self.failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    def start(self, stack: AsyncExitStack, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` until the stack closes, which cancels it."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        stack.push_async_callback(_cancel, task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not self.failed.done():
            self.failed.set_result(error)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


async def run_until_signalled(
    start: Start, ready: Ready, *, watch: Watch | None = None, for_s: float | None = None
) -> None:
    """Start, tell `ready` the URL, serve until SIGTERM, SIGINT or `for_s` seconds, stop in reverse.

    A second signal ends the process at once. Raises what `start` raised, and the error of a watched task that
    failed. A stop that overruns its grace is cut and logged.
    """
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _on_signal, stopping)
    stack = AsyncExitStack()
    try:
        await _start_and_wait(start, ready, stack, stopping, watch, for_s)
    finally:
        await _close(stack)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _on_signal(stopping: asyncio.Event) -> None:
    if stopping.is_set():
        os._exit(130)
    stopping.set()


async def _start_and_wait(
    start: Start, ready: Ready, stack: AsyncExitStack, stopping: asyncio.Event, watch: Watch | None, for_s: float | None
) -> None:
    stopped = asyncio.create_task(stopping.wait())
    starting = asyncio.ensure_future(start(stack))
    try:
        await asyncio.wait([starting, stopped], return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            return
        ready(starting.result())
        waits: list[asyncio.Future[Any]] = [stopped] if watch is None else [stopped, watch.failed]
        await asyncio.wait(waits, timeout=for_s, return_when=asyncio.FIRST_COMPLETED)
        if watch is not None and watch.failed.done():
            error = watch.failed.result()
            if isinstance(error, StreamkitError):
                raise error
            raise Stop(f"A part of the program failed and it stops ({error!r}); start it again.") from error
    finally:
        for task in (starting, stopped):
            task.cancel()
        await asyncio.wait([starting, stopped])


async def _close(stack: AsyncExitStack) -> None:
    try:
        async with asyncio.timeout(GRACE_S):
            await stack.aclose()
    except TimeoutError:
        telemetry.error("stop_overran_its_grace", grace_s=GRACE_S)
        sys.stdout.flush()
        os._exit(1)
