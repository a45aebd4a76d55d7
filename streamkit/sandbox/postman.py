"""Posts the deliveries of a fake platform in the background, to this machine only."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from urllib.parse import urlsplit

import aiohttp

from streamkit.setting_values import is_loopback

TIMEOUT_S = 5.0


class Postman:
    """`start` what is to be delivered; `idle` waits for it, `close` gives it up."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._http: aiohttp.ClientSession | None = None

    def start(self, delivery: Coroutine[None, None, None]) -> None:
        """Run it beside everything else, in no promised order. Call from the event loop."""
        task = asyncio.get_running_loop().create_task(delivery)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """The answer's status and body; (0, b"") when none came in 5 s. Redirects are not followed."""
        if self._http is None:
            self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
        try:
            async with self._http.post(url, data=body, headers=headers, allow_redirects=False) as answer:
                return answer.status, await answer.content.read(1 << 16)
        except (aiohttp.ClientError, OSError, TimeoutError):
            return 0, b""

    async def idle(self) -> None:
        """Returns when everything started so far has been delivered, or given up."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Give up what is under way; idempotent."""
        for task in self._tasks:
            task.cancel()
        await self.idle()
        if self._http is not None:
            await self._http.close()
            self._http = None


def is_on_this_machine(url: str) -> bool:
    """Whether `url` is an address on this machine; the sandbox posts nowhere else."""
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and is_loopback(parts.hostname or "")
