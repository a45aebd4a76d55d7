"""A real Apache Kafka broker for the tests: one KRaft node from Maven's jars, on loopback, data in a folder given.

The jars come once, by `mvn dependency:copy-dependencies` over the pom.xml beside this file, into .cache/kafka.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, NodeNotReadyError

from tests.services.process import ServerProcess, free_port

_HERE = Path(__file__).parent
_JARS = _HERE / ".cache" / "kafka"
_READY_S = 30.0

HOW_TO_ENABLE = (
    "no Kafka: run `apt-get install -y default-jre-headless maven`, or set STREAMKIT_TEST_KAFKA=host:port to a broker"
)


def is_available() -> bool:
    """Whether a broker can be started here."""
    return shutil.which("java") is not None and (shutil.which("mvn") is not None or _has_jars())


class KafkaBroker:
    """One broker over one data folder: start, stop, kill -9, start again on the same data and port."""

    def __init__(self, folder: Path) -> None:
        """Fetch the jars when they are missing, format the storage; `start` starts it."""
        _fetch_jars()
        port, controller_port = free_port(), free_port()
        self.bootstrap = f"127.0.0.1:{port}"
        properties = folder / "server.properties"
        properties.write_text(_PROPERTIES.format(port=port, controller_port=controller_port, data=folder / "data"))
        java = ["java", "-cp", f"{_JARS}/*"]
        format_storage = [
            "format",
            "--standalone",
            "--cluster-id",
            "c3RyZWFta2l0LXRlc3RzLQ",
            "--config",
            str(properties),
        ]
        subprocess.run(
            [*java, "-Xmx256m", "-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool", *format_storage],
            check=True,
            capture_output=True,
            timeout=60,
        )
        self.process = ServerProcess(
            [*java, "-Xms256m", "-Xmx768m", "-XX:+UseSerialGC", "kafka.Kafka", str(properties)],
            port,
            folder / "output.txt",
        )

    def start(self) -> None:
        """Start and wait until it takes connections (about 3 s)."""
        self.process.start()

    def stop(self) -> None:
        """End it in order."""
        self.process.stop()

    def kill(self) -> None:
        """`kill -9`."""
        self.process.kill()

    def restart(self) -> None:
        """Start it again on the same data, after `kill` or `stop` or as it runs."""
        self.process.stop()
        self.process.start()


async def delete_topics(bootstrap: str) -> None:
    """Delete every topic of ours, so that the next log made there is a new one.

    A broker that was just started takes connections before it names itself as a node; a client that came too early
    does not ask again, so another one does. Raises TimeoutError after 30 s of that.
    """
    async with asyncio.timeout(_READY_S):
        while True:
            try:
                await _delete_topics(bootstrap)
                return
            except (NodeNotReadyError, KafkaConnectionError):
                await asyncio.sleep(0.1)


async def _delete_topics(bootstrap: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        while ours := [topic for topic in await admin.list_topics() if topic.startswith("streamkit.")]:
            await admin.delete_topics(ours)
    finally:
        await admin.close()


def _has_jars() -> bool:
    return any(_JARS.glob("kafka_2.13-*.jar"))


def _fetch_jars() -> None:
    if _has_jars():
        return
    partial = _JARS.with_name(f"kafka-{os.getpid()}")
    subprocess.run(
        ["mvn", "-q", "-B", "-f", _HERE / "pom.xml", "dependency:copy-dependencies", f"-DoutputDirectory={partial}"],
        check=True,
        timeout=600,
    )
    try:
        partial.rename(_JARS)
    except OSError:  # another run was first
        shutil.rmtree(partial)


# The session timeout is how long a killed broker waits, when it is started again, for its former self to count as gone.
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=2500
broker.heartbeat.interval.ms=500
"""
