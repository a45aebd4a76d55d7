"""A member of the group in a process of its own, to be stopped, continued and killed. Each 20 ms, and at once when it
wakes, it prints one JSON line: {"at", "epoch", "owned", "held", "strictly"}."""

from __future__ import annotations

import asyncio
import json
import sys
import time

from streamkit.log.kafka_group import KafkaGroup


async def main(bootstrap: str, group_id: str, name: str, partitions: int) -> None:
    """Be a member until killed."""
    group = KafkaGroup(
        bootstrap, group_id, name, positions=lambda: dict.fromkeys(range(partitions), 0), changed=lambda share: None
    )
    running = asyncio.create_task(group.run())
    while not running.done():
        line = {
            "at": time.monotonic(),
            "epoch": group.share.epoch,
            "owned": sorted(group.share.partitions),
            "held": [partition for partition in range(partitions) if group.holds(partition)],
            "strictly": [partition for partition in range(partitions) if group.holds_strictly(partition)],
        }
        print(json.dumps(line), flush=True)
        await asyncio.sleep(0.02)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
