"""What every test has: a check that it left no task, thread or socket behind, and the real servers (tests/services).

Kafka's topic names are fixed, so a test that wants a log of its own in Kafka takes `clean_kafka` (or `kafka_log_url`),
which deletes our topics first. Tests run one after another. `STREAMKIT_TEST_KAFKA=host:port` and
`STREAMKIT_TEST_REDIS=redis://host:port` name servers that run already; WHAT THEY HOLD OF OURS IS DELETED.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.fakes.platforms import Platforms, running_platforms
from tests.services import kafka as kafka_service
from tests.services import redis as redis_service
from tests.services.kafka import KafkaBroker
from tests.services.redis import RedisServer

_SETTLE_S = 2.0
_ASYNCIO = ("asyncio_", "asyncio-waitpid")
"""Threads of the event loop's own: its pool, and one for a child process, which may outlive it by a moment."""

# A shell's background job ignores Ctrl-C, and so would every program started here.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark by what a test uses, so that `-m "not kafka"` works without anyone marking by hand."""
    for item in items:
        names = getattr(item, "fixturenames", [])
        for service in ("kafka", "redis"):
            if any(service in name for name in names) or f"[{service}" in item.name:
                item.add_marker(service)


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails the test that leaves a thread behind, or (when it is a coroutine) a task or an open socket."""
    if inspect.iscoroutinefunction(request.function):
        request.getfixturevalue("no_async_leaks")
    before = set(threading.enumerate())
    yield
    left = [thread.name for thread in set(threading.enumerate()) - before if not thread.name.startswith(_ASYNCIO)]
    assert not left, f"threads left behind: {left}"


@pytest.fixture
async def no_async_leaks() -> AsyncIterator[None]:
    """Set up before all other fixtures of a coroutine test and torn down after them; see `no_leaks`."""
    loop = asyncio.get_running_loop()
    tasks, sockets = asyncio.all_tasks(), _sockets()
    yield
    deadline = loop.time() + _SETTLE_S
    mine = asyncio.current_task()
    while loop.time() < deadline:
        left = [repr(task) for task in asyncio.all_tasks() - tasks if task is not mine]
        if not left and not _sockets() - sockets:
            return
        await asyncio.sleep(0.005)  # connections close a few turns of the loop after close() was called
    assert not left, f"tasks left behind: {left}"
    assert not _sockets() - sockets, "sockets left open"


def _sockets() -> set[str]:
    if sys.platform != "linux":
        return set()
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


@pytest.fixture(scope="session")
def session_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """The one broker of the run. Use `kafka_bootstrap`, `clean_kafka` or `kafka_broker`."""
    if not kafka_service.is_available():
        pytest.skip(kafka_service.HOW_TO_ENABLE)
    broker = KafkaBroker(tmp_path_factory.mktemp("kafka"))
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture(scope="session")
def kafka_bootstrap(request: pytest.FixtureRequest) -> str:
    """`host:port` of a real Kafka broker that runs."""
    if address := os.environ.get("STREAMKIT_TEST_KAFKA"):
        return address
    broker: KafkaBroker = request.getfixturevalue("session_kafka")
    return broker.bootstrap


@pytest.fixture
async def clean_kafka(kafka_bootstrap: str) -> str:
    """`host:port` of a broker without any of our topics: the next log opened there is a new one."""
    await kafka_service.delete_topics(kafka_bootstrap)
    return kafka_bootstrap


@pytest.fixture
def kafka_log_url(clean_kafka: str) -> str:
    """A STREAMKIT_LOG_URL of a clean broker, for `open_log` and for processes."""
    return f"kafka://{clean_kafka}"


@pytest.fixture
def kafka_broker(session_kafka: KafkaBroker, clean_kafka: str) -> Iterator[KafkaBroker]:
    """A clean broker that the test may kill, suspend and restart; afterwards it runs again."""
    if session_kafka.bootstrap != clean_kafka:
        pytest.skip("the broker of STREAMKIT_TEST_KAFKA is not ours to kill")
    yield session_kafka
    if session_kafka.process.is_running:
        session_kafka.process.resume()  # a test that failed may have left it suspended
    else:
        session_kafka.start()


@pytest.fixture(scope="session")
def session_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """The one Redis server of the run. Use `redis_url` or `redis_server`."""
    if not redis_service.is_available():
        pytest.skip(redis_service.HOW_TO_ENABLE)
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest) -> str:
    """A STREAMKIT_REDIS_URL of a real server that runs. It is not emptied: keys and channels carry the log's id."""
    if url := os.environ.get("STREAMKIT_TEST_REDIS"):
        return url
    server: RedisServer = request.getfixturevalue("session_redis")
    return server.url


@pytest.fixture
def redis_server(session_redis: RedisServer) -> Iterator[RedisServer]:
    """A server that the test may kill and restart; afterwards it runs again."""
    yield session_redis
    if not session_redis.process.is_running:
        session_redis.start()


@pytest.fixture
async def platforms() -> AsyncIterator[Platforms]:
    """A fake Kick and a fake Twitch on loopback, with a clock that the test moves."""
    async with running_platforms() as running:
        yield running
