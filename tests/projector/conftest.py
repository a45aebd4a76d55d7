"""A log in memory and a projector that owns it; a file of tests that wants others has fixtures of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from projector.run import Projector
from streamkit.log.memory import MemoryLog


@pytest.fixture
async def log() -> AsyncIterator[MemoryLog]:
    """One partition, empty."""
    log = MemoryLog()
    yield log
    await log.close()


@pytest.fixture
async def projector(log: MemoryLog, tmp_path: Path) -> AsyncIterator[Projector]:
    """Folds and answers."""
    projector = Projector(log, tmp_path)
    await projector.start()
    yield projector
    await projector.close()
