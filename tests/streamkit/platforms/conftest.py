"""The world of the tokens' tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.platforms import Platforms
from tests.streamkit.platforms.world import Process, World


@pytest.fixture
async def world(platforms: Platforms, tmp_path: Path) -> AsyncIterator[World]:
    """Broadcasters 1 and 2, connected to nothing."""
    world = World(platforms, tmp_path)
    await world.register(1, 2)
    yield world
    await world.close()


@pytest.fixture
async def process(world: World) -> Process:
    """One process; broadcaster 1 is connected to Kick and Twitch."""
    process = await world.process()
    await process.connect("kick")
    await process.connect("twitch")
    return process
