"""Fixtures of the api room's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.api.house import House, serving
from tests.streamkit.platforms.conftest import world

__all__ = ["house", "world"]


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """A house that serves, without a rate limit."""
    async with serving(House()) as served:
        yield served
