"""A process that appends to a log until it is killed, and prints the position of each acknowledged record.

`python -m tests.contracts.log_child URL DATA_DIR PREFIX`: record n has the value `PREFIX-n`.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from streamkit.log import open_log
from streamkit.log.protocol import EVENTS, Record


async def main(url: str, data_dir: Path, prefix: str) -> None:
    """Append without end, 16 appends under way at any time."""
    log = await open_log(url, data_dir=data_dir)
    numbers = iter(range(10**9))

    async def append() -> None:
        for number in numbers:
            value = f"{prefix}-{number}"
            appended = await log.append(EVENTS, [Record("7", value.encode())])
            print(f"{value} {appended[0].partition} {appended[0].position}", flush=True)

    await asyncio.gather(*(append() for _ in range(16)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
