"""The streams of changes of the projectors' read ports, made gapless: after any gap, "anyone may have changed"."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence

import aiohttp
import msgspec

from streamkit.reads import Change

SILENCE_S = 3.0
"""A stream that says nothing for this long (an empty line comes every second) is taken for dead."""
_BACKOFF_FIRST_S = 0.1
_BACKOFF_LAST_S = 2.0

_change = msgspec.json.Decoder(Change)


class ChangeFeed:
    """One task a projector, reading its stream and calling `told` for each commit, on the event loop."""

    def __init__(self, session: aiohttp.ClientSession, urls: Sequence[str], told: Callable[[Change], None]) -> None:
        self._session = session
        self._urls = urls
        self._told = told
        self._sources: dict[int, object] = {}
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
                        self._take(stream, _change.decode(line))
            except (aiohttp.ClientError, TimeoutError, OSError, msgspec.MsgspecError):
                pass
            finally:
                for partition in [each for each, source in self._sources.items() if source is stream]:
                    del self._sources[partition]
            await asyncio.sleep(backoff_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
            backoff_s = min(backoff_s * 2, _BACKOFF_LAST_S)

    def _take(self, stream: object, change: Change) -> None:
        """The first word of a partition from another stream than before follows a gap."""
        if self._sources.get(change.partition) is not stream:
            self._sources[change.partition] = stream
            change = Change(change.partition, change.position, None)
        self._told(change)

    async def _lines(self, url: str) -> AsyncIterator[bytes]:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=1.0, sock_read=SILENCE_S)
        async with self._session.get(f"{url}/internal/v1/changes", timeout=timeout) as response:
            response.raise_for_status()
            rest = b""
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield line
