"""Encoded answers, kept for as long as they are surely the newest, and never older than one served before.

A kept answer reflects its own position. While no commit after it touched the broadcaster, it reflects every later
position that the change feed of the partition has reached, too. It is served

- at once, when it is fresh: nothing has touched it, the directory stands as it did, and it is at most a second old
  (counts of active subscriptions are estimates at a moment), or a tenth of one where commits are not told;
- with its age, when the projector is away;
- never, when this process has served a newer position of that broadcaster, or the caller asks for one.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable

from schemas.errors import Retry, StreamkitError
from streamkit import telemetry
from streamkit.reads import Change

MAX_AGE_S = 1.0
MAX_AGE_UNTOLD_S = 0.1
MIN_POSITION_WAIT_S = 2.0
CACHE_BYTES = 64 << 20
GZIP_FROM_BYTES = 1024
_GZIP_LEVEL = 4
_ENTRY_BYTES = 600
PATIENCE_S = 1.0
"""How long a read may take before an older answer goes out with its age: a projector that hangs answers nothing."""

_READS = 4

Key = tuple[int, Hashable, Hashable]
"""user_id, route, canonical parameters."""


def gzip(body: bytes) -> bytes:
    """The body compressed."""
    packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()


class Kept:
    """One encoded answer. `position` is the one its rows were read at; `built_s` on the monotonic clock."""

    __slots__ = (
        "_gzip",
        "body",
        "built_s",
        "directory_version",
        "heads",
        "partition",
        "position",
        "text",
        "text_position",
    )

    def __init__(self, body: bytes, partition: int, position: int, directory_version: int, built_s: float) -> None:
        self.body = body
        self.partition = partition
        self.position = position
        self.directory_version = directory_version
        self.built_s = built_s
        self.text_position = position
        self.text = f"{partition}:{position}"
        self.heads: dict[bool, bytes] = {}
        self._gzip: bytes | None = None

    def gzip(self) -> bytes:
        """The body compressed, made once."""
        if self._gzip is None:
            self._gzip = gzip(self.body)
        return self._gzip

    def position_text(self, position: int) -> str:
        """`partition:position`, made anew only when the position moved."""
        if position != self.text_position:
            self.text_position = position
            self.text = f"{self.partition}:{position}"
        return self.text


class Served:
    """A kept answer on its way out: the position it reflects, and its age in seconds (None: built for this request)."""

    __slots__ = ("age_s", "kept", "position")

    def __init__(self, kept: Kept, position: int, age_s: int | None) -> None:
        self.kept = kept
        self.position = position
        self.age_s = age_s


Build = Callable[[int, float], Awaitable[Kept]]
"""Reads and encodes an answer at (min_position, wait_s). Raises Retry."""


class Answers:
    """The cache. `directory_version` gives the directory's present version, `told` whether every commit of a
    partition reaches `changed`. For one event loop."""

    def __init__(
        self,
        directory_version: Callable[[], int],
        told: Callable[[int], bool],
        *,
        now_s: Callable[[], float] = time.monotonic,
        max_bytes: int = CACHE_BYTES,
    ) -> None:
        self._directory_version = directory_version
        self._told = told
        self._now_s = now_s
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[Key, Kept] = OrderedDict()
        self._flights: dict[tuple[Key, int], asyncio.Task[Kept]] = {}
        self._touched: dict[int, int] = {}  # user_id -> position of the newest commit known to touch it
        self._floor: dict[int, int] = {}  # partition -> position of the newest commit that may have touched anyone
        self._reached: dict[int, int] = {}  # partition -> how far the change feed has told everything
        self._served: dict[int, int] = {}  # user_id -> newest position served

    def changed(self, change: Change) -> None:
        """The read models' own feed: in order and without gaps."""
        self.hinted(change)
        if change.position > self._reached.get(change.partition, 0):
            self._reached[change.partition] = change.position

    def hinted(self, change: Change) -> None:
        """Soft state's feed: may lack changes, so it only makes answers stale."""
        if change.user_ids is None:
            self._floor[change.partition] = max(change.position, self._floor.get(change.partition, 0))
            return
        touched = self._touched
        for user_id in change.user_ids:
            if change.position > touched.get(user_id, 0):
                touched[user_id] = change.position

    def fresh(self, key: Key, min_position: int) -> Served | None:
        """The kept answer when it is as good as a new one; None: `fetch`."""
        kept = self._kept.get(key)
        if kept is None or kept.directory_version != self._directory_version():
            return None
        age_s = self._now_s() - kept.built_s
        if age_s > MAX_AGE_S or (age_s > MAX_AGE_UNTOLD_S and not self._told(kept.partition)):
            return None
        position = self._reflects(key[0], kept)
        if position is None or position < min_position or position < self._served.get(key[0], 0):
            return None
        self._kept.move_to_end(key)
        self._served[key[0]] = position
        return Served(kept, position, int(age_s))

    async def fetch(self, key: Key, min_position: int, build: Build) -> Served:
        """Read anew, once for all who ask for the same, at no older position than any served before.

        When the read models are away, the kept answer with its age. Raises Retry when there is none that may be
        served. Cancelling a caller does not cancel the read that others wait for.
        """
        needed = max(min_position, self._served.get(key[0], 0))
        for _ in range(_READS):
            joined = (key, needed) in self._flights
            flight = self._flight(key, needed, min_position > 0, build)
            if self._stale(key, needed) is not None:
                await asyncio.wait({flight}, timeout=PATIENCE_S)
                stale = None if flight.done() else self._stale(key, needed)
                if stale is not None:
                    return stale
            try:
                kept = await asyncio.shield(flight)
            except Retry:
                stale = self._stale(key, needed)
                if stale is None:
                    raise
                return stale
            position = self._reflects(key[0], kept) or kept.position
            newest = self._served.get(key[0], 0)
            if joined:
                served = self.fresh(key, needed)  # None: it was read before the caller came
                if served is not None:
                    return served
            elif position >= newest:
                break
            needed = max(needed, newest)  # another answer of this broadcaster went out meanwhile
        self._served[key[0]] = max(position, newest)
        return Served(kept, position, None)

    def _flight(self, key: Key, needed: int, waits: bool, build: Build) -> asyncio.Task[Kept]:
        flight = self._flights.get((key, needed))
        if flight is None:
            wait_s = MIN_POSITION_WAIT_S if waits or self._stale(key, needed) is None else 0.0
            flight = asyncio.create_task(self._read(key, needed, wait_s, build), name=f"read {key[1]}")
            self._flights[key, needed] = flight
            flight.add_done_callback(lambda done: self._landed(key, needed, done))
        return flight

    async def _read(self, key: Key, needed: int, wait_s: float, build: Build) -> Kept:
        kept = await build(needed, wait_s)
        self._keep(key, kept)
        return kept

    def _stale(self, key: Key, needed: int) -> Served | None:
        """The kept answer when it is no older than `needed`, nor than what went out by now."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        position = self._reflects(key[0], kept) or kept.position
        if position < max(needed, self._served.get(key[0], 0)):
            return None
        return Served(kept, position, int(self._now_s() - kept.built_s))

    def _reflects(self, user_id: int, kept: Kept) -> int | None:
        """The newest position whose state the rows are; None when a later commit touched them."""
        position = kept.position
        if self._touched.get(user_id, 0) > position or self._floor.get(kept.partition, 0) > position:
            return None
        return max(position, self._reached.get(kept.partition, 0))

    def _keep(self, key: Key, kept: Kept) -> None:
        before = self._kept.pop(key, None)
        if before is not None:
            if before.position > kept.position:
                kept = before
            self._bytes -= len(before.body) + _ENTRY_BYTES
        self._kept[key] = kept
        self._bytes += len(kept.body) + _ENTRY_BYTES
        while self._bytes > self._max_bytes:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= len(dropped.body) + _ENTRY_BYTES

    def _landed(self, key: Key, needed: int, flight: asyncio.Task[Kept]) -> None:
        del self._flights[key, needed]
        if not flight.cancelled():
            error = flight.exception()  # looked at, whether or not a caller still waits
            if error is not None and not isinstance(error, StreamkitError):
                telemetry.error("read_failed", kind=type(error).__name__)

    async def close(self) -> None:
        """Cancel the reads under way."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
