"""`ReadModels` over the projectors' read ports: who owns a partition, the questions, and the streams of changes.

Owners are learnt by asking every projector for its positions, and again whenever one says it does not own a
partition. What may not live here: anything about the public API.
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

from api.feed import ChangeFeed
from schemas.errors import Retry
from schemas.read_models import QUERIES
from streamkit import telemetry
from streamkit.log.protocol import partition_of
from streamkit.reads import Answer, Change, Question

CONNECT_S = 1.0
ANSWER_S = 3.0
"""Beyond the time a question may wait for its position."""
_LEARN_EVERY_S = 0.1
_CONNECTIONS = 64


class Positions(Struct, frozen=True):
    """What a read port says of itself. `positions` is keyed by the partitions it owns."""

    log_id: str
    partitions: int
    positions: dict[str, int]


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
        self._owners: dict[int, str] = {}
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
        self._feed = ChangeFeed(self._session, self._urls, self._told)
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

        Raises Retry when the position is not reached in time, or the partition's projector is not reachable.
        Cancellation abandons the question.
        """
        partition = self.partition_of(user_id)
        body = _encoder.encode(
            {"user_id": user_id, "questions": questions, "min_position": min_position, "wait_s": wait_s}
        )
        deadline_s = time.monotonic() + wait_s
        for attempt in range(2):
            if attempt or partition not in self._owners:
                await self._learn()
            owner = self._owners.get(partition)
            if owner is None:
                break
            answer = await self._ask(owner, body, questions, max(0.0, deadline_s - time.monotonic()))
            if answer is not None:
                return answer
            self._owners.pop(partition, None)
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
        found = await asyncio.gather(*(self._positions(url) for url in self._urls))
        owners: dict[int, tuple[int, str]] = {}
        for url, positions in zip(self._urls, found, strict=True):
            for partition, position in (positions.positions if positions is not None else {}).items():
                owners[int(partition)] = max(owners.get(int(partition), (-1, "")), (position, url))
        self._owners = {partition: url for partition, (_, url) in owners.items()}
        self._learnt_s = time.monotonic()

    async def _positions(self, url: str) -> Positions | None:
        assert self._session is not None, "RemoteReadModels.start comes before ask"
        timeout = aiohttp.ClientTimeout(total=ANSWER_S, connect=CONNECT_S)
        try:
            async with self._session.get(f"{url}/internal/v1/positions", timeout=timeout) as response:
                if response.status != 200:
                    return None
                positions = _positions.decode(await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError, msgspec.MsgspecError):
            return None
        if positions.log_id != self._log_id or positions.partitions != self._partitions:
            if url not in self._refused:
                telemetry.error("projector_of_another_log", url=url)
                self._refused.add(url)
            return None
        self._refused.discard(url)
        return positions

    def _told(self, change: Change) -> None:
        for callback in self._callbacks:
            callback(change)
