"""Soft state: which deliveries are known, what the projector changed, what clients spent of their rate, which process is
at work on something. This is the one file that imports redis.

Losing it loses speed and nothing else: without Redis each process remembers what it has seen itself (the fold drops every
duplicate anyway), changes made known elsewhere arrive by the projector's read port, each process limits a client's rate
for itself, and work that a lock would have kept apart is done twice. So nothing here ever raises to a caller or makes one
wait longer than 50 ms (for a lock: 1 s). Keys and channel carry the log's id: another log sees nothing.
What may not live here: anything that has to be true.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

import msgspec
from msgspec import Struct
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from schemas.errors import BadSettings
from streamkit import telemetry
from streamkit.reads import Change

_KNOWN_S = 24 * 3600
_LOCAL_IDS = 100_000
_QUEUE = 50_000
_PIPELINE = 1000
_ANSWER_S = 0.05
_SERVER_S = 1.0
_RETRY_S = 0.5
_PROBE_S = 5.0
_CANCEL_AGAIN_S = 0.1
_CANCELS = 20
_RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then redis.call('del', KEYS[1]) end"
_FAILURES = (RedisError, OSError, TimeoutError)

ChangeCallback = Callable[[Change], None]
SpentCallback = Callable[[Mapping[str, int]], None]


class SoftState(Protocol):
    """What ingest, projector and api tell each other in passing. Belongs to one event loop."""

    @property
    def shared(self) -> bool:
        """Whether other processes take part (a Redis server is set)."""

    @property
    def connected(self) -> bool:
        """Whether it works at the moment; always True in-process."""

    async def known(self, event_id: str) -> str | None:
        """The position (`"p:n"`) stored with the id; None when it is unknown or cannot be told within 50 ms."""

    def remember(self, event_id: str, position: str) -> None:
        """Store the position (`"p:n"`) for 24 h, in the background. Only for ids whose event the log has durably."""

    def publish(self, change: Change) -> None:
        """Tell every process, this one included, in the background."""

    def on_change(self, callback: ChangeCallback) -> None:
        """Call `callback` on the event loop for each published change; it must not block or raise."""

    def spend(self, spent: Mapping[str, int]) -> None:
        """Tell the other processes how many requests each client made here, in the background."""

    def on_spent(self, callback: SpentCallback) -> None:
        """Call `callback` on the event loop for what clients spent at other processes; it must not block or raise."""

    async def acquire(self, name: str, ttl_s: float) -> bool:
        """Take the lock `name` for `ttl_s` at most: False while another process has it. True also when nobody can tell,
        so whoever takes it must be right without it; it keeps processes, not tasks of one process, apart."""

    async def release(self, name: str) -> None:
        """Give the lock back, if it is still this process's."""

    async def script(self, source: str, keys: Sequence[str], arguments: Sequence[str]) -> Any:
        """What the server answers to a Lua script; None when there is none to ask."""

    async def close(self) -> None:
        """End the background tasks and connections; idempotent."""


async def open_soft_state(url: str | None, log_id: str) -> SoftState:
    """Soft state of the log `log_id`: by the Redis server at `url` (up or not), or in-process when `url` is None.

    Raises BadSettings when `url` is no address of a Redis server.
    """
    if url is None:
        telemetry.SOFT_STATE_UP.set(1)
        return InProcess()
    try:
        client = Redis.from_url(
            url, socket_timeout=_SERVER_S, socket_connect_timeout=_SERVER_S, retry=Retry(NoBackoff(), 0)
        )
    except ValueError as error:
        raise BadSettings(
            "STREAMKIT_REDIS_URL has to be redis://host:port, rediss://… or unix://… (or unset for in-process)."
        ) from error
    state = Shared(client, log_id)
    await state.start()
    return state


class KnownIds:
    """Positions by id, for 24 h, the newest 100,000. One age for all, so insertion order is the order of expiry."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ids: OrderedDict[str, tuple[float, str]] = OrderedDict()

    def get(self, event_id: str) -> str | None:
        """The position, None when unknown or too old."""
        found = self._ids.get(event_id)
        return found[1] if found is not None and found[0] > self._clock() else None

    def put(self, event_id: str, position: str) -> None:
        """Remember; the oldest goes when there are too many."""
        self._ids[event_id] = self._clock() + _KNOWN_S, position
        self._ids.move_to_end(event_id)
        if len(self._ids) > _LOCAL_IDS:
            self._ids.popitem(last=False)


class InProcess:
    """SoftState of one process alone."""

    shared = False
    connected = True

    def __init__(self) -> None:
        self._known = KnownIds()
        self._callbacks: list[ChangeCallback] = []
        self._spent_callbacks: list[SpentCallback] = []

    async def known(self, event_id: str) -> str | None:
        """The position, if this process stored it."""
        return self._known.get(event_id)

    def remember(self, event_id: str, position: str) -> None:
        """Store it."""
        self._known.put(event_id, position)

    def publish(self, change: Change) -> None:
        """Call every callback, now."""
        for callback in self._callbacks:
            callback(change)

    def on_change(self, callback: ChangeCallback) -> None:
        """Hear of each change."""
        self._callbacks.append(callback)

    def spend(self, spent: Mapping[str, int]) -> None:
        """There is nobody to tell."""

    def on_spent(self, callback: SpentCallback) -> None:
        """Hear of what is spent elsewhere."""
        self._spent_callbacks.append(callback)

    async def acquire(self, name: str, ttl_s: float) -> bool:
        """There is no other process."""
        return True

    async def release(self, name: str) -> None:
        """There is no other process."""

    async def script(self, source: str, keys: Sequence[str], arguments: Sequence[str]) -> Any:
        """There is nobody to ask."""
        return None

    async def close(self) -> None:
        """Nothing to end."""


class _Note(Struct, frozen=True, omit_defaults=True):
    """A change on the channel, or what clients spent. A process passes over its own: it knows already."""

    sender: str
    change: Change | None = None
    spent: dict[str, int] = {}


class Shared(InProcess):
    """SoftState by a Redis server, with the in-process one in front of it and in its place while it is away.

    All commands queue and go out by one pipeline at a time, so a thousand look-ups under way are a few round trips.
    """

    shared = True

    def __init__(self, client: Redis, log_id: str) -> None:
        """Nothing is connected before `start`."""
        super().__init__()
        self.connected = False
        self._client = client
        self._prefix = f"streamkit:{log_id}"
        self._sender = secrets.token_hex(8)
        self._asked: deque[tuple[str, asyncio.Future[str | None]]] = deque()
        self._ids: deque[tuple[str, str]] = deque(maxlen=_QUEUE)
        self._notes: deque[bytes] = deque(maxlen=_QUEUE)
        self._wake = asyncio.Event()
        self._skip_until = 0.0
        self._tasks: list[asyncio.Task[None]] = []
        self._commands: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Connect (a server that is away is tried again in the background) and start the background tasks."""
        await self._probe()
        self._tasks = [
            asyncio.create_task(self._talk(), name="soft state"),
            asyncio.create_task(self._listen(), name="soft state changes"),
        ]

    async def known(self, event_id: str) -> str | None:
        """From this process's memory, else from Redis."""
        found = self._known.get(event_id)
        loop = asyncio.get_running_loop()
        if found is not None or not self.connected or loop.time() < self._skip_until:
            return found
        answer: asyncio.Future[str | None] = loop.create_future()
        self._asked.append((event_id, answer))
        self._wake.set()
        try:
            async with asyncio.timeout(_ANSWER_S):
                return await answer
        except TimeoutError:
            self._skip_until = loop.time() + _SERVER_S
            return None

    def remember(self, event_id: str, position: str) -> None:
        """Here at once, in Redis soon; the oldest waiting one is dropped when 50,000 wait."""
        self._known.put(event_id, position)
        if self.connected:
            self._ids.append((event_id, position))
            self._wake.set()

    def publish(self, change: Change) -> None:
        """This process's callbacks now, the others' soon."""
        super().publish(change)
        self._tell(_Note(self._sender, change))

    def spend(self, spent: Mapping[str, int]) -> None:
        """The others soon."""
        self._tell(_Note(self._sender, spent=dict(spent)))

    async def acquire(self, name: str, ttl_s: float) -> bool:
        """By Redis; True while it is away."""
        taking = partial(self._client.set, f"{self._prefix}:lock:{name}", self._sender, nx=True, px=int(ttl_s * 1000))
        return bool(await self._told(taking, away=True))

    async def release(self, name: str) -> None:
        """In Redis; while it is away the lock runs out by itself."""
        await self.script(_RELEASE, [f"lock:{name}"], [self._sender])

    async def script(self, source: str, keys: Sequence[str], arguments: Sequence[str]) -> Any:
        """From Redis, within a second."""
        names = (f"{self._prefix}:{key}" for key in keys)
        return await self._told(partial(self._client.eval, source, len(keys), *names, *arguments))

    async def _told(self, ask: Callable[[], Any], *, away: Any = None) -> Any:
        """The answer within a second, else `away`. In a task, since the client loses cancellations (see `close`)."""
        if not self.connected:
            return away
        task: asyncio.Task[Any] = asyncio.ensure_future(ask())
        self._commands.add(task)
        task.add_done_callback(self._command_ended)
        try:
            await asyncio.wait([task], timeout=_SERVER_S)
            well = task.done() and not task.cancelled() and task.exception() is None
            return task.result() if well else away
        finally:
            task.cancel()

    def _command_ended(self, task: asyncio.Task[Any]) -> None:
        self._commands.discard(task)
        if not task.cancelled() and task.exception() is not None:
            telemetry.warn("soft_state_command_failed", error=type(task.exception()).__name__)

    def _tell(self, note: _Note) -> None:
        if self.connected:
            self._notes.append(msgspec.json.encode(note))
            self._wake.set()

    async def close(self) -> None:
        """End both tasks and all connections, within 3 s whatever the server does; what is queued is dropped."""
        # One cancellation is not enough: the client sends through asyncio.wait_for, which before Python 3.12 loses
        # a cancellation that comes just when the sending is done, and the task goes on to listen for good.
        for _ in range(_CANCELS):
            running = [task for task in (*self._tasks, *self._commands) if not task.done()]
            if not running:
                break
            for task in running:
                task.cancel()
            await asyncio.wait(running, timeout=_CANCEL_AGAIN_S)
        self._lost()
        with suppress(*_FAILURES):
            await self._client.aclose()

    async def _talk(self) -> None:
        while True:
            if not self.connected:
                await asyncio.sleep(_RETRY_S)
                await self._probe()
                continue
            try:
                async with asyncio.timeout(_PROBE_S):
                    await self._wake.wait()
            except TimeoutError:  # who has nothing to say still wants to know whether the server answers
                await self._probe()
                continue
            self._wake.clear()
            while self._asked or self._ids or self._notes:  # a lost connection empties them
                await self._send()

    async def _send(self) -> None:
        """One pipeline of what is queued."""
        asked = [self._asked.popleft() for _ in range(min(_PIPELINE, len(self._asked)))]
        ids = [self._ids.popleft() for _ in range(min(_PIPELINE, len(self._ids)))]
        notes = [self._notes.popleft() for _ in range(min(_PIPELINE, len(self._notes)))]
        pipeline = self._client.pipeline(transaction=False)
        if asked:
            pipeline.mget([self._key(event_id) for event_id, _ in asked])
        for event_id, position in ids:
            pipeline.set(self._key(event_id), position, ex=_KNOWN_S)
        for note in notes:
            pipeline.publish(f"{self._prefix}:changes", note)
        try:
            async with asyncio.timeout(_SERVER_S):
                answers = await pipeline.execute()
        except _FAILURES as error:
            self._asked.extend(asked)
            self._lost()
            telemetry.warn("soft_state_lost", error=type(error).__name__)
            return
        if asked:
            for (_, answer), position in zip(asked, answers[0], strict=True):
                if not answer.done():
                    answer.set_result(position.decode() if position is not None else None)

    async def _probe(self) -> None:
        """A write, because a server that is full or read-only answers PING too."""
        try:
            async with asyncio.timeout(_SERVER_S):
                await self._client.set(f"{self._prefix}:probe", "1", ex=60)
        except _FAILURES:
            self._lost()
            return
        if not self.connected:
            telemetry.info("soft_state_connected")
        self.connected = True
        telemetry.SOFT_STATE_UP.set(1)

    def _lost(self) -> None:
        self.connected = False
        telemetry.SOFT_STATE_UP.set(0)
        for _, answer in self._asked:
            if not answer.done():
                answer.set_result(None)
        self._asked.clear()
        self._ids.clear()
        self._notes.clear()

    async def _listen(self) -> None:
        while True:
            with suppress(*_FAILURES):
                async with self._client.pubsub(ignore_subscribe_messages=True) as channel:
                    await channel.subscribe(f"{self._prefix}:changes")
                    while True:
                        message = await channel.get_message(timeout=None)
                        if message is not None:
                            self._heard(message["data"])
            # A process that only listens (api) learns here that the server went away; _talk sees when it is back.
            self._lost()
            self._wake.set()
            await asyncio.sleep(_RETRY_S)

    def _heard(self, data: bytes) -> None:
        with suppress(msgspec.MsgspecError):  # an older or newer build's note: hints may be missed
            note = msgspec.json.decode(data, type=_Note)
            if note.sender == self._sender:
                return
            if note.change is not None:
                super().publish(note.change)
            if note.spent:
                for callback in self._spent_callbacks:
                    callback(note.spent)

    def _key(self, event_id: str) -> str:
        return f"{self._prefix}:known:{event_id}"
