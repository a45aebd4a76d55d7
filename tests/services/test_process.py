"""Servers of the tests end with the tests, also when the test runner is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.services import kafka, redis
from tests.services.kafka import KafkaBroker
from tests.services.process import ServerProcess, is_listening
from tests.services.redis import RedisServer

_RUNNER = """
import sys, time
from pathlib import Path
from tests.services.process import ServerProcess, free_port
port = free_port()
server = ServerProcess([sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)], port, Path(sys.argv[1]))
server.start()
print(port, server.pid, flush=True)
time.sleep(60)
"""


def test_a_killed_test_runner_leaves_no_server(tmp_path: Path) -> None:
    runner = subprocess.Popen(
        [sys.executable, "-c", _RUNNER, str(tmp_path / "out.txt")], stdout=subprocess.PIPE, text=True
    )
    assert runner.stdout is not None
    port, server_pid = (int(part) for part in runner.stdout.readline().split())
    assert is_listening(port)
    runner.send_signal(signal.SIGKILL)
    runner.communicate()
    deadline = time.monotonic() + 10
    while is_listening(port) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_listening(port), f"process {server_pid} is still there"


def test_a_server_that_does_not_come_up_says_why(tmp_path: Path) -> None:
    server = ServerProcess([sys.executable, "-c", "raise SystemExit('no luck')"], 1, tmp_path / "out.txt")
    with pytest.raises(RuntimeError, match="no luck"):
        server.start()
    assert not server.is_running


def test_the_broker_comes_back_on_the_same_address(kafka_broker: KafkaBroker) -> None:
    before = kafka_broker.process.pid
    kafka_broker.kill()
    assert not kafka_broker.process.is_running
    assert not is_listening(kafka_broker.process.port)
    kafka_broker.restart()
    assert kafka_broker.process.pid != before
    assert is_listening(kafka_broker.process.port)


def test_redis_comes_back_on_the_same_address(redis_server: RedisServer) -> None:
    before = redis_server.process.pid
    redis_server.kill()
    redis_server.restart()
    assert redis_server.process.pid != before
    os.kill(redis_server.process.pid, 0)


def test_what_is_missing_is_said_with_the_command_that_brings_it() -> None:
    assert "apt-get install" in kafka.HOW_TO_ENABLE
    assert "apt-get install" in redis.HOW_TO_ENABLE
