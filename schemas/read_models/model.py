"""What a read model is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct


class Query(Struct, frozen=True):
    """A named question. `sql` takes `$user_id`, `$settled` and the named `parameters`; `row` is an array-like struct that
    decodes one row. Times in rows are epoch microseconds (`*_us`). `finish` makes the rows of what SQL found, for what
    SQL cannot say; it gets the parameters too and may sort in place."""

    name: str
    sql: str
    row: type[Struct]
    parameters: tuple[str, ...] = ()
    finish: Callable[[list[tuple[Any, ...]], Mapping[str, Any]], list[tuple[Any, ...]]] | None = None


class Fold(Struct, frozen=True):
    """One set-based statement over the staged `batch` (columns: projector/staging.py), run when the batch holds
    any event of `kinds`. No clock, no random, no sequence."""

    kinds: frozenset[str]
    sql: str


SETTLED_EVERY = 32_768
"""Log positions between two settlings."""


class ReadModel(Struct, frozen=True):
    """A derived table (or a few) with the question it answers.

    `version` rises whenever `tables`, `fold` or `settle` changes: derived tables have no migrations, they are rebuilt.
    `fold` statements run in order inside the batch's transaction; they should only insert, for DuckDB finds the rows
    that a MERGE or an ON CONFLICT touches by reading the whole table. `settle` statements run when a batch reaches a
    position divisible by SETTLED_EVERY, and take what `fold` inserted at positions from `$from` up to before `$to`
    into tables that are cheap to ask. Queries add what came since, at positions from `$settled` on. All state is then
    still a function of the log's prefix alone, whatever the batches were.
    """

    name: str
    version: int
    tables: str
    fold: tuple[Fold, ...]
    settle: tuple[str, ...] = ()
    queries: tuple[Query, ...] = ()
