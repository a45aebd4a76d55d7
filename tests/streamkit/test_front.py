"""Two processes with one Redis between them limit a client together."""

from __future__ import annotations

import asyncio
import itertools
import time

from schemas.errors import Problem
from streamkit.credentials import Credentials
from streamkit.directory import Directory
from streamkit.front import Front
from streamkit.keys import Keys
from streamkit.redis import open_soft_state


async def test_what_a_client_spends_at_one_process_is_missing_at_the_other(redis_url: str) -> None:
    softs = [await open_soft_state(redis_url, "front") for _ in range(2)]
    credentials = Credentials(Directory(), Keys.derive(bytes(32)))
    here, there = (Front(credentials, rate_limit=0.001, cors_origins=("*",)) for _ in range(2))
    tasks = [asyncio.create_task(front.share(soft)) for front, soft in zip((here, there), softs, strict=True)]
    try:
        async with asyncio.timeout(10):
            for number in itertools.count():  # a note may come before the other one listens: another client then
                here.allowance.take(f"c{number}", time.monotonic())
                await asyncio.sleep(0.15)  # a turn of sharing
                try:
                    there.allowance.take(f"c{number}", time.monotonic())
                except Problem:
                    break
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for soft in softs:
            await soft.close()
