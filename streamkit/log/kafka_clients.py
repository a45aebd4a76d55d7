"""Starting and stopping aiokafka's clients, so that neither a cancellation nor a broker that is away leaves anything
behind, or takes the caller along. Its own start() and stop() do both."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

STOP_S = 1.0


async def start_client(client: Any) -> None:
    """Start a consumer or producer. A cancellation waits for it, a second at most: aiokafka leaves a connection open
    if it cuts in, unless that waits for the broker's first word, as it does when the broker hangs."""
    starting = asyncio.ensure_future(client.start())
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        try:
            await asyncio.wait({starting}, timeout=STOP_S)
        finally:  # also when cancelled once more
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
        raise


async def stop_consumer(consumer: AIOKafkaConsumer, within_s: float | None = None) -> None:
    """Stop it, whatever the broker does; `within_s` is what its own stop() has for it.

    While a broker is away stop() raises CancelledError, as if the caller had been cancelled: it cancels fetches that wait to
    try again, awaits them, and goes no further. A loop that stopped such a consumer ended without a word.
    """
    if await _outcome(consumer.stop(), within_s) is None:
        return
    fetcher = consumer._fetcher
    if fetcher is not None:
        await _end([fetcher._fetch_task])  # it begins the others
        await _end(fetcher._pending_tasks)
        fetcher._pending_tasks.clear()
        await _outcome(fetcher.close(), within_s)
    await consumer._client.close()


async def stop_producer(producer: AIOKafkaProducer) -> None:
    """End its tasks and connections.

    Its stop() waits for every batch it holds, also for those that nobody waits for and no broker will ever take.
    """
    producer._closed = True
    with suppress(KafkaError, TimeoutError):
        async with asyncio.timeout(STOP_S):
            await producer._sender.close()
    await producer.client.close()


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _outcome(work: Coroutine[Any, Any, None], within_s: float | None) -> BaseException | None:
    """What the work raised; None when it ended as it should. It is cut short after `within_s`, and with the caller."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=within_s)
    finally:
        if not task.done():
            task.cancel()
    (result,) = await asyncio.gather(task, return_exceptions=True)
    return result if isinstance(result, BaseException) else None
