"""`ReadModels` over the projectors' read ports: who owns a partition, the questions, and the streams of changes.

Owners are learnt from the streams of changes, and by asking every projector for its positions whenever one does not
answer for a partition. Of several that say they own one, it is the one of the latest epoch, and then of the furthest
position. What may not live here: anything about the public API.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from types import GenericAlias
from typing import Any

import aiohttp
import msgspec
from msgspec import Raw, Struct

from api.feed import ChangeFeed, Owner
from schemas.errors import Retry
from schemas.read_models import QUERIES
from streamkit import telemetry
from streamkit.log.protocol import partition_of
from streamkit.reads import Answer, Change, Question

CONNECT_S = 1.0
ANSWER_S = 3.0
"""Beyond the time a question may wait for its position."""
LEARN_S = 1.0
"""A projector tells what it owns at once, whatever it has to do; one that does not is not asked."""
_LEARN_EVERY_S = 0.1
_CONNECTIONS = 64


class Positions(Struct, frozen=True):
    """What a read port says of itself. `positions` and `epochs` are keyed by the partitions it owns."""

    log_id: str
    partitions: int
    positions: dict[str, int]
    epochs: dict[str, int]


class _Rows(Struct, frozen=True):
    partition: int
    position: int
    rows: list[Raw]


_positions = msgspec.json.Decoder(Positions)
_rows = msgspec.json.Decoder(_Rows)
_encoder = msgspec.json.Encoder()


class RemoteReadModels:
    """Asks the projectors at `urls`; `partitions` and `log_id` are the events log's own.

    A projector of another log is never asked. `start` before use, `close` after.
    """

    def __init__(self, urls: Sequence[str], token: str, *, partitions: int, log_id: str) -> None:
        self._urls = tuple(url.rstrip("/") for url in urls)
        self._headers = {"Authorization": f"Bearer {token}"}
        self._partitions = partitions
        self._log_id = log_id
        self._owners: dict[int, Owner] = {}
        self._found: dict[int, Owner] = {}  # what the round of asking under way has found, and what was told meanwhile
        self._learning: asyncio.Task[None] | None = None
        self._learnt_s = -_LEARN_EVERY_S
        self._refused: set[str] = set()
        self._callbacks: list[Callable[[Change], None]] = []
        self._session: aiohttp.ClientSession | None = None
        self._feed: ChangeFeed | None = None
        self._decoders: dict[str, msgspec.json.Decoder[list[Any]]] = {}

    async def start(self) -> None:
        """Open the connections and begin to follow the changes; does not wait for a projector to be there."""
        self._session = aiohttp.ClientSession(
            headers=self._headers,
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS),
            timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_S),
        )
        self._feed = ChangeFeed(self._session, self._urls, log_id=self._log_id, told=self._told, owned=self._heard)
        self._feed.start()

    async def close(self) -> None:
        """End the streams and close the connections; idempotent."""
        if self._feed is not None:
            await self._feed.close()
        if self._learning is not None:
            self._learning.cancel()
            await asyncio.wait([self._learning])
        if self._session is not None:
            await self._session.close()

    def on_change(self, callback: Callable[[Change], None]) -> None:
        """Call `callback` on the event loop after each commit that a projector tells of; it must not block."""
        self._callbacks.append(callback)

    def partition_of(self, user_id: int) -> int:
        """The partition in which the broadcaster's events lie."""
        return partition_of(str(user_id), self._partitions)

    def following(self, partition: int) -> bool:
        """Whether every commit of the partition is told at present."""
        return self._feed is not None and self._feed.following(partition)

    def readiness(self) -> list[str]:
        """The partitions whose projector is away, as sentences; empty when all are followed."""
        missing = [str(partition) for partition in range(self._partitions) if not self.following(partition)]
        return [f"No projector is reachable for partition {', '.join(missing)}."] if missing else []

    async def ask(
        self, user_id: int, questions: Sequence[Question], *, min_position: int = 0, wait_s: float = 0.0
    ) -> Answer:
        """Answer from one snapshot, at `min_position` or later; waits up to `wait_s` seconds for it.

        While the partition moves, the wait is for its new owner too. Raises Retry when the position is not reached in
        time, or no projector that owns the partition is reachable. Cancellation abandons the question.
        """
        partition = self.partition_of(user_id)
        body = _encoder.encode(
            {"user_id": user_id, "questions": questions, "min_position": min_position, "wait_s": wait_s}
        )
        deadline_s = time.monotonic() + wait_s
        is_second = False
        while True:
            if partition not in self._owners:
                await self._learn()
            owner = self._owners.get(partition)
            if owner is not None:
                answer = await self._ask(owner.url, body, questions, max(0.0, deadline_s - time.monotonic()))
                if answer is not None:
                    return answer
                if self._owners.get(partition) is owner:
                    del self._owners[partition]
            if time.monotonic() >= deadline_s and (owner is None or is_second):
                break
            is_second = True
        raise Retry("The read models of this broadcaster are not reachable at the moment; try again shortly.")

    async def _ask(self, url: str, body: bytes, questions: Sequence[Question], wait_s: float) -> Answer | None:
        """The projector's answer; None when another may own the partition."""
        assert self._session is not None, "RemoteReadModels.start comes before ask"
        timeout = aiohttp.ClientTimeout(total=wait_s + ANSWER_S, connect=CONNECT_S)
        try:
            async with self._session.post(f"{url}/internal/v1/ask", data=body, timeout=timeout) as response:
                text = await response.read()
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None
        if status == 200:
            found = _rows.decode(text)
            rows = [
                self._decoder(question.name).decode(raw) for question, raw in zip(questions, found.rows, strict=True)
            ]
            return Answer(found.partition, found.position, rows)
        if status == 503:
            raise Retry("The read models have not reached the position asked for; try again shortly.")
        if status != 404:
            telemetry.error("read_port_refused", status=status, url=url)
        return None

    def _decoder(self, name: str) -> msgspec.json.Decoder[list[Any]]:
        decoder = self._decoders.get(name)
        if decoder is None:
            rows: Any = GenericAlias(list, (QUERIES[name].row,))
            decoder = self._decoders[name] = msgspec.json.Decoder(rows)
        return decoder

    async def _learn(self) -> None:
        """Ask every projector what it owns: one round at a time, shared by all who wait, at most ten a second."""
        if self._learning is None or self._learning.done():
            self._learning = asyncio.create_task(self._learn_all(), name="learn partition owners")
        await asyncio.shield(self._learning)

    async def _learn_all(self) -> None:
        # Too early is waited out, never skipped: whoever asks has just seen that what was learnt no longer holds.
        await asyncio.sleep(self._learnt_s + _LEARN_EVERY_S - time.monotonic())
        self._found = {}
        for told in await asyncio.gather(*(self._positions(url) for url in self._urls)):
            for partition, owner in told.items():
                _believe(self._found, partition, owner)
        self._owners = self._found
        self._learnt_s = time.monotonic()

    def _heard(self, partition: int, owner: Owner) -> None:
        _believe(self._owners, partition, owner)
        _believe(self._found, partition, owner)

    async def _positions(self, url: str) -> dict[int, Owner]:
        """The partitions the projector says it owns; none when it does not answer or is of another log."""
        assert self._session is not None, "RemoteReadModels.start comes before ask"
        timeout = aiohttp.ClientTimeout(total=LEARN_S, connect=CONNECT_S)
        try:
            async with self._session.get(f"{url}/internal/v1/positions", timeout=timeout) as response:
                if response.status != 200:
                    return {}
                positions = _positions.decode(await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError, msgspec.MsgspecError):
            return {}
        if positions.log_id != self._log_id or positions.partitions != self._partitions:
            if url not in self._refused:
                telemetry.error("projector_of_another_log", url=url)
                self._refused.add(url)
            return {}
        self._refused.discard(url)
        return {
            int(partition): Owner(positions.epochs[partition], position, url)
            for partition, position in positions.positions.items()
        }

    def _told(self, change: Change) -> None:
        for callback in self._callbacks:
            callback(change)


def _believe(owners: dict[int, Owner], partition: int, owner: Owner) -> None:
    known = owners.get(partition)
    if known is None or known < owner:
        owners[partition] = owner
