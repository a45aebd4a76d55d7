"""Given events, when asked, then rows: the same however the events were delivered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from msgspec.structs import astuple

from schemas.event import Event, encode_event
from tests.harness import Folded, fold
from tests.projector.events import USER

Ask = Callable[..., list[tuple[Any, ...]]]
SETTLINGS = 2
"""Of one log, delivered once: each costs as much as ten questions."""


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Ask]:
    """`asked(events, query, **parameters)`: the rows as tuples, delivered in one batch, delivered twice with a few
    settlings, and delivered backwards (`in_order`: in order) and settled in part; all must agree. A log that was asked
    before is not folded again."""
    files: dict[Any, Folded] = {}

    def rows(
        log: Sequence[Event], sizes: Sequence[int] | None, every: int, user_id: int, query: str, parameters: Any
    ) -> list[tuple[Any, ...]]:
        way = (tuple(map(encode_event, log)), every)
        with mock.patch("projector.fold.SETTLED_EVERY", every):
            if way not in files:
                files[way] = stack.enter_context(fold(log, path=tmp_path / f"{len(files)}.duckdb", batches=sizes))
            return [astuple(row) for row in files[way].ask(user_id, query, **parameters)]

    def ask(
        events: Sequence[Event], query: str, *, in_order: bool = False, user_id: int = USER, **parameters: Any
    ) -> list[tuple[Any, ...]]:
        events = list(events)
        few = -(-len(events) // SETTLINGS) or 1
        ways: dict[str, tuple[Sequence[Event], Sequence[int] | None, int]] = {
            "one batch": (events, None, 1_000),
            "twice": ([*events, *events], [few] * SETTLINGS, few),
            "settled in part": (events if in_order else events[::-1], None, len(events) // 2 + 1),
        }
        answers = {way: rows(*how, user_id, query, parameters) for way, how in ways.items()}
        first = answers["one batch"]
        assert all(rows == first for rows in answers.values()), answers
        return first

    with ExitStack() as stack:
        yield ask


@pytest.fixture
def walked(tmp_path: Path) -> Callable[..., None]:
    """`walked(events, query, time, tie, arriving)`: fails unless pages of two rows, each but the first asked for after
    another of the `arriving` events came, are together what one long page was before: none twice, none skipped.
    `time` and `tie` are the columns that tell a row's place."""

    def walk(events: Sequence[Event], query: str, time: int, tie: int, arriving: Sequence[Event]) -> None:
        with mock.patch("projector.fold.SETTLED_EVERY", 3), fold(events, path=tmp_path / "walked.duckdb") as folded:
            whole = [astuple(row) for row in folded.ask(USER, query, limit=100)]
            rows: list[tuple[Any, ...]] = []
            for event in arriving:
                before = (rows[-1][time], rows[-1][tie]) if rows else None
                page = [astuple(row) for row in folded.ask(USER, query, limit=2, before=before)]
                assert len(page) == min(2, len(whole) - len(rows))
                rows += page
                folded.more([event])
            assert rows == whole
            assert len(folded.ask(USER, query, limit=100)) > len(whole) > 2, "some arrived that a first page would show"

    return walk
