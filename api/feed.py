"""The streams of changes of the projectors' read ports, made gapless: after any gap, "anyone may have changed".

Of two projectors that tell of one partition, the one that owns it in the later epoch is believed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence

import aiohttp
import msgspec
from msgspec import Struct

from streamkit.reads import LOG_ID_HEADER, Change

SILENCE_S = 3.0
"""A stream that says nothing for this long (an empty line comes every second) is taken for dead."""
_BACKOFF_FIRST_S = 0.1
_BACKOFF_LAST_S = 2.0


class Told(Change, frozen=True):
    """A line: a change, and the epoch in which the partition is owned where it comes from (None: no more)."""

    epoch: int | None = 0


class Owner(Struct, frozen=True, order=True):
    """A projector that says it owns a partition. The greater of two is the one to believe."""

    epoch: int
    position: int
    url: str


class _Source(Struct):
    """Where the commits of a partition are told. `stream` is of one connection."""

    stream: object
    epoch: int


_line = msgspec.json.Decoder(Told)


class ChangeFeed:
    """One task a projector, reading its stream and calling, on the event loop, `told` for each commit and `owned` when
    a projector says for the first time that it owns a partition. One of another log is not listened to."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        urls: Sequence[str],
        *,
        log_id: str,
        told: Callable[[Change], None],
        owned: Callable[[int, Owner], None],
    ) -> None:
        self._session = session
        self._urls = urls
        self._log_id = log_id
        self._told = told
        self._owned = owned
        self._sources: dict[int, _Source] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to follow; reconnects by itself until `close`."""
        self._tasks = [asyncio.create_task(self._follow(url), name=f"changes of {url}") for url in self._urls]

    async def close(self) -> None:
        """End all streams; idempotent."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def following(self, partition: int) -> bool:
        """Whether a stream that tells of the partition is open."""
        return partition in self._sources

    async def _follow(self, url: str) -> None:
        backoff_s = _BACKOFF_FIRST_S
        while True:
            stream = object()
            try:
                async for line in self._lines(url):
                    backoff_s = _BACKOFF_FIRST_S
                    if line:
                        self._take(url, stream, _line.decode(line))
            except (aiohttp.ClientError, TimeoutError, OSError, msgspec.MsgspecError):
                pass
            finally:
                for partition in [each for each, source in self._sources.items() if source.stream is stream]:
                    del self._sources[partition]
            await asyncio.sleep(backoff_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
            backoff_s = min(backoff_s * 2, _BACKOFF_LAST_S)

    def _take(self, url: str, stream: object, line: Told) -> None:
        """The first word of a partition from another stream than before follows a gap."""
        source = self._sources.get(line.partition)
        is_same = source is not None and source.stream is stream
        if line.epoch is None:
            if is_same:
                del self._sources[line.partition]
            return
        if source is not None and not is_same and line.epoch < source.epoch:
            return  # of an owner that was
        if source is None or not is_same or source.epoch != line.epoch:
            self._sources[line.partition] = _Source(stream, line.epoch)
            self._owned(line.partition, Owner(line.epoch, line.position, url))
        self._told(Change(line.partition, line.position, line.user_ids if is_same else None))

    async def _lines(self, url: str) -> AsyncIterator[bytes]:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=1.0, sock_read=SILENCE_S)
        async with self._session.get(f"{url}/internal/v1/changes", timeout=timeout) as response:
            response.raise_for_status()
            if response.headers.get(LOG_ID_HEADER) != self._log_id:
                return
            rest = b""
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield line
