"""Dead letters of ingest: verified deliveries that are no events (yet), kept verbatim, once each, within limits.

Whoever owns any Kick app can have Kick sign deliveries about any channel: without limits they would fill the log.
What may not live here: the decision what is parked; the codecs make it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from typing import Any, Literal, get_args

from schemas.control import DeadLettersDropped, DeadLettersRedriven, decode_control
from schemas.dead_letter import DeadLetter, LetterHead, decode_head, encode_dead_letter, letter_key
from schemas.errors import UNREADABLE, LogUnavailable, ParkReason
from streamkit import telemetry
from streamkit.log.protocol import CONTROL, DEAD_LETTERS, EventLog, Record

MAX_PER_UNKNOWN_BROADCASTER = 1000
CATCH_UP_S = 1.0
COUNT_EVERY_S = 15.0
_CLOSED = -1

Parking = Literal["parked", "already_parked", "dropped"]


class DeadLetterBox:
    """Appends dead letters. What other processes append is learnt before each letter, so that the limits are shared.

    A full topic loses its oldest records, so what counts towards its limit is all that lies behind the oldest letter that
    is open still: no open one is lost. An unknown broadcaster's own limit counts open letters. Which of them
    operators have closed is looked up when a limit is reached. `dropped` is how many went over one in this process.
    """

    def __init__(self, log: EventLog, max_bytes: int) -> None:
        self._log = log
        self._max_bytes = max_bytes
        self._position = 0
        self._control_position = 0
        self._learning = asyncio.Lock()
        self._caught_up = _Shared(self._catch_up)
        self._room_made = _Shared(self._make_room)
        self._begins: dict[int, int] = {}  # each letter on the topic → the bytes before it, or _CLOSED
        self._order: deque[int] = deque()  # the letters, from the oldest that is open on
        self._bytes_learnt = 0
        self._appending: dict[int, int] = {}  # letters of this process that are not learnt yet → their bytes
        self._whose: dict[int, tuple[str, str]] = {}  # open letters of unknown broadcasters
        self._per_broadcaster: dict[tuple[str, str], int] = {}
        self._under_way: dict[int, asyncio.Task[None]] = {}
        self._open: Counter[str] = Counter()
        self.dropped = 0

    @property
    def bytes_kept(self) -> int:
        """The size of all records from the oldest open letter on."""
        begin = self._begins[self._order[0]] if self._order else self._bytes_learnt
        return self._bytes_learnt - begin + sum(self._appending.values())

    async def start(self) -> None:
        """Read what the topic holds already. Raises LogUnavailable, LogClosed."""
        await self._catch_up()

    async def count(self) -> None:
        """Tell the metric of open letters what there is, every 15 s until cancelled. Raises LogClosed."""
        while True:
            with contextlib.suppress(LogUnavailable):
                await self._room_made.done()
                for reason in get_args(ParkReason):
                    telemetry.DEAD_LETTERS_OPEN.labels(reason).set(self._open[reason])
            await asyncio.sleep(COUNT_EVERY_S)

    async def park(self, letter: DeadLetter) -> Parking:
        """Keep `letter` unless it is kept already or over a limit; returns when it is durable.

        Two letters are the same when event id and reason are, whether the first is open or closed. Raises
        LogUnavailable, LogClosed, RecordTooLarge: then it is not kept. Cancellation abandons the wait, not the append.
        """
        key = _hash(letter_key(letter))
        if not self._is_kept(key):
            await self._caught_up.done()
        value = encode_dead_letter(letter)
        if not self._is_kept(key) and self._over_limit(letter, len(value)):
            await self._room_made.done()
        if (under_way := self._under_way.get(key)) is not None:
            await asyncio.shield(under_way)
            return "already_parked"
        if self._is_kept(key):
            return "already_parked"
        if self._over_limit(letter, len(value)):
            self.dropped += 1
            telemetry.DEAD_LETTERS_DROPPED.labels(letter.reason).inc()
            return "dropped"
        self._appending[key] = len(value)
        self._belongs(key, letter)
        append = asyncio.create_task(self._append(key, letter, value))
        self._under_way[key] = append
        append.add_done_callback(lambda _: self._under_way.pop(key, None))
        append.add_done_callback(_looked_at)
        await asyncio.shield(append)
        telemetry.DEAD_LETTERS_PARKED.labels(letter.reason).inc()
        return "parked"

    async def close(self) -> None:
        """Wait for the appends under way; idempotent."""
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)
        await self._caught_up.close()
        await self._room_made.close()

    async def _append(self, key: int, letter: DeadLetter, value: bytes) -> None:
        try:
            await self._log.append(DEAD_LETTERS, [Record(key=letter.event_id, value=value)])
        except BaseException:
            if self._appending.pop(key, None) is not None:  # None: it was read back meanwhile, so it is kept after all
                self._free(key)
            raise

    def _is_kept(self, key: int) -> bool:
        return key in self._begins or key in self._appending

    def _over_limit(self, letter: DeadLetter, size: int) -> bool:
        if self.bytes_kept + size > self._max_bytes:
            return True
        if letter.platform is None or letter.broadcaster_id is None:
            return False
        return self._per_broadcaster.get((letter.platform, letter.broadcaster_id), 0) >= MAX_PER_UNKNOWN_BROADCASTER

    def _belongs(self, key: int, letter: LetterHead) -> None:
        if letter.platform is not None and letter.broadcaster_id is not None:
            whose = self._whose[key] = letter.platform, letter.broadcaster_id
            self._per_broadcaster[whose] = self._per_broadcaster.get(whose, 0) + 1

    def _free(self, key: int) -> None:
        whose = self._whose.pop(key, None)
        if whose is not None:
            self._per_broadcaster[whose] -= 1

    async def _catch_up(self) -> None:
        """Read the topic to its end."""
        async with self._learning:
            while True:
                batch = await self._log.read(DEAD_LETTERS, 0, self._position)
                if batch.next_position <= self._position:
                    return
                self._position = batch.next_position
                for value in batch.values:
                    self._learn(value)

    def _learn(self, value: bytes) -> None:
        begin = self._bytes_learnt
        self._bytes_learnt += len(value)
        try:
            letter = decode_head(value)
        except UNREADABLE:  # written by a newer build: for all we know it is open
            letter = None
        key = _hash(f"unreadable {begin}" if letter is None else letter_key(letter))
        if key in self._begins:
            return
        self._begins[key] = begin
        self._order.append(key)
        if letter is not None:
            self._open[letter.reason] += 1
        if self._appending.pop(key, None) is None and letter is not None:
            self._belongs(key, letter)

    async def _make_room(self) -> None:
        """Learn which letters operators have redriven or dropped."""
        position, closed = self._control_position, list[str]()
        while (batch := await self._log.read(CONTROL, 0, position)).next_position > position:
            position = batch.next_position
            closed += [key for value in batch.values for key in _closed_by(value)]
        await self._catch_up()  # a letter is on its topic before its closing is on the control topic: all are known now
        self._control_position = position
        for name in closed:
            key = _hash(name)
            if self._begins.get(key, _CLOSED) != _CLOSED:
                self._begins[key] = _CLOSED
                self._open[name.partition(" ")[0]] -= 1
                self._free(key)
        while self._order and self._begins[self._order[0]] == _CLOSED:
            self._order.popleft()


class _Shared:
    """Work that is done once for all who wait for it meanwhile."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._work = work
        self._task: asyncio.Task[None] | None = None

    async def done(self) -> None:
        """Wait for it, a second at most. Raises LogUnavailable; cancellation leaves the others' work alone."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
            self._task.add_done_callback(_looked_at)
        try:
            async with asyncio.timeout(CATCH_UP_S):
                await asyncio.shield(self._task)
        except TimeoutError:
            raise LogUnavailable(
                "The log did not tell its dead letters in time: check that it can be reached."
            ) from None

    async def close(self) -> None:
        """End it; idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})


def _closed_by(value: bytes) -> tuple[str, ...]:
    try:
        event = decode_control(value)
    except UNREADABLE:
        return ()
    return event.letters if isinstance(event, DeadLettersRedriven | DeadLettersDropped) else ()


def _looked_at(task: asyncio.Task[None]) -> None:
    # Whoever waited has given up, perhaps: then nobody else looks at the error, and asyncio would complain of that.
    if not task.cancelled():
        task.exception()


def _hash(key: str) -> int:
    # 8 bytes of a hash instead of the strings: a full topic may hold millions of letters.
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest())
