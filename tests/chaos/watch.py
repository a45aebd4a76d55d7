"""What a reader sees meanwhile: counts that only rise must never go back, whichever process answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp

from tests.program import API

PAUSE_S = 0.03
UNAVAILABLE = 503


class Watcher:
    """Reads the counters again and again until cancelled; `went_back` says what should not have been seen.

    `url` may change between reads. A process that is away, or answers 503, is asked again.
    """

    def __init__(self, http: aiohttp.ClientSession, url: Callable[[], str], headers: dict[str, str]) -> None:
        self._http = http
        self._url = url
        self._headers = headers
        self.reads = 0
        self.went_back: list[str] = []
        self._seen: dict[str, int] = {}

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            for path in ("overview", "kicks"):
                await self._read(path)
                await asyncio.sleep(PAUSE_S)

    async def _read(self, path: str) -> None:
        try:
            async with self._http.get(self._url() + API + path, headers=self._headers) as answer:
                body = await answer.json()
        except (aiohttp.ClientError, OSError):
            return
        if answer.status == UNAVAILABLE:
            return
        if answer.status != 200:
            self.went_back.append(f"{path}: {answer.status} {body}")
            return
        self.reads += 1
        where = f"{answer.headers.get('Streamkit-Position')}, age {answer.headers.get('Age')}"
        for name, count in counters(path, body["data"]).items():
            if count < self._seen.get(name, 0):
                self.went_back.append(f"{name} went from {self._seen[name]} back to {count} (at {where})")
            self._seen[name] = max(count, self._seen.get(name, 0))


def counters(path: str, data: dict[str, Any]) -> dict[str, int]:
    """What of an answer only rises."""
    if path == "kicks":
        return {name: data["summary"][name] for name in ("gift_events", "total_kicks")}
    subscriptions = data["subscriptions"]
    return {
        "events.total": data["events"]["total"],
        "total_kicks": data["kicks"]["total_kicks"],
        "gifted": subscriptions["gifted"],
        "new": subscriptions["new"],
    }
