"""`kill -9` of `streamkit up` under load, again and again: nothing acknowledged is lost, nothing is counted twice.

STREAMKIT_KILL9_ROUNDS says how often (CI: 20).
"""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import aiohttp
import pytest

from streamkit.cli.simulate import story
from streamkit.simulation.delivery import Delivery
from tests.drill import Platforms, Push, check_numbers, pushes, sandbox_reader
from tests.program import Program
from tests.services.process import free_port

ROUNDS = int(os.environ.get("STREAMKIT_KILL9_ROUNDS", "3"))
PER_ROUND = 250


@pytest.mark.drill
async def test_kill_9_under_load_loses_nothing_and_counts_nothing_twice(tmp_path: Path) -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    sent = story(seed, PER_ROUND * (ROUNDS + 1), rate=None, duplicates=0.1, shuffle=0.2)
    moments = random.Random(seed)
    async with aiohttp.ClientSession() as http:
        with Program(tmp_path, "up", port=free_port(), STREAMKIT_SANDBOX="1", STREAMKIT_RATE_LIMIT="0") as up:
            user_id, reader = sandbox_reader(http, up.url, tmp_path)
            platforms = Platforms(http, lambda: up.url, sent)
            delivering = asyncio.create_task(platforms.deliver())
            for number in range(ROUNDS):
                await platforms.reached(number * PER_ROUND + moments.randrange(1, PER_ROUND))
                await asyncio.to_thread(up.kill)
                await asyncio.to_thread(up.start)
            await delivering
            assert platforms.retries >= ROUNDS, "the kills came while deliveries were under way"
            await check_numbers(reader, user_id, tmp_path, sent, platforms.min_position)


@pytest.mark.drill
async def test_kill_9_while_a_bot_pushes_too_loses_nothing_and_counts_nothing_twice(tmp_path: Path) -> None:
    seed, count = random.randrange(1_000_000), PER_ROUND * (ROUNDS + 1)
    print(f"seed {seed}")
    sent = story(seed, count // 2, rate=None, duplicates=0.1, shuffle=0.2)
    moments = random.Random(seed)
    async with aiohttp.ClientSession() as http:
        with Program(tmp_path, "up", port=free_port(), STREAMKIT_SANDBOX="1", STREAMKIT_RATE_LIMIT="0") as up:
            user_id, reader = sandbox_reader(http, up.url, tmp_path)
            traffic: list[Delivery | Push] = [*sent, *pushes(seed, count, reader.headers)]
            moments.shuffle(traffic)
            everybody = Platforms(http, lambda: up.url, traffic)
            delivering = asyncio.create_task(everybody.deliver())
            for number in range(ROUNDS):
                await everybody.reached((number + 1) * len(traffic) // (ROUNDS + 1))
                await asyncio.to_thread(up.kill)
                await asyncio.to_thread(up.start)
            await delivering
            assert everybody.retries >= ROUNDS, "the kills came while requests were under way"
            await check_numbers(reader, user_id, tmp_path, sent, everybody.min_position, count)
