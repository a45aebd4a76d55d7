"""Given events, when asked, then rows: the same however the events were delivered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from schemas.event import Event
from tests.harness import fold
from tests.projector.events import USER

Ask = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def asked(tmp_path: Path) -> Ask:
    """`asked(events, query, **parameters)`: the rows as tuples, delivered in one batch, delivered twice with a
    settling after every event, and delivered backwards (unless `in_order`); all must agree."""
    count = 0

    def ask(
        events: Sequence[Event], query: str, *, in_order: bool = False, user_id: int = USER, **parameters: Any
    ) -> list[tuple[Any, ...]]:
        nonlocal count
        ways: dict[str, tuple[Sequence[Event], Sequence[int] | None, int]] = {
            "one batch": (events, None, 1_000),
            "twice, settled after every event": ([*events, *events], [1] * len(events), 1),
        }
        if not in_order:
            ways["backwards"] = (list(reversed(events)), None, 2)
        answers = {}
        for way, (log, batches, every) in ways.items():
            count += 1
            with (
                mock.patch("projector.fold.SETTLED_EVERY", every),
                fold(log, path=tmp_path / f"{count}.duckdb", batches=batches) as folded,
            ):
                rows = folded.ask(user_id, query, **parameters)
            answers[way] = [tuple(getattr(row, field) for field in row.__struct_fields__) for row in rows]
        first = answers["one batch"]
        assert all(rows == first for rows in answers.values()), answers
        return first

    return ask
