"""Where a log's address becomes a log. What may not live here: what an adapter does."""

from __future__ import annotations

import re
from pathlib import Path

from schemas.errors import BadSettings
from streamkit.log.protocol import EventLog

APPEND_TIMEOUT_S = 1.0
"""So long Kafka has to take a record: a platform waits for our answer."""

SQLITE_FILE = "log.sqlite"
"""In the data folder."""

_ADDRESSES = re.compile(r"[^/,\s]+:\d+(,[^/,\s]+:\d+)*")


async def open_log(
    url: str,
    *,
    data_dir: Path,
    partitions: int | None = None,
    dead_letter_max_bytes: int = 1 << 30,
    append_timeout_s: float = APPEND_TIMEOUT_S,
) -> EventLog:
    """Open, or create, the log at `url`: `sqlite:` (a file in `data_dir`) or `kafka://host:port[,host:port]`.

    `partitions` is the number the events topic has or gets (None: what it has; a new one 1 in SQLite, 4 in Kafka).
    `append_timeout_s` is how long an append to Kafka may wait for its acknowledgement.
    Raises BadSettings (no such kind of address), LogMisconfigured (it exists with other settings), LogUnavailable.
    """
    if url == "sqlite:":
        from streamkit.log.sqlite import SqliteLog

        return await SqliteLog.open(
            data_dir / SQLITE_FILE, partitions=partitions, dead_letter_max_bytes=dead_letter_max_bytes
        )
    if url.startswith("kafka://") and _ADDRESSES.fullmatch(url.removeprefix("kafka://")):
        from streamkit.log.kafka import KafkaLog

        return await KafkaLog.open(
            url.removeprefix("kafka://"),
            partitions=partitions,
            dead_letter_max_bytes=dead_letter_max_bytes,
            append_timeout_s=append_timeout_s,
        )
    raise BadSettings(
        f"STREAMKIT_LOG_URL is {url!r}; it has to be sqlite: (a file in the data folder) "
        "or kafka://host:port[,host:port]."
    )
