"""What a read model is made of, and how it is kept.

The fold puts each batch, as it is, into one table, `recent`. At every log position divisible by SETTLED_EVERY what lies
there is settled: taken over into the read models' own tables, many events at a time, because in DuckDB it is the number
of statements that costs, and because whatever updates a table reads the whole of it. Questions look at both. All
state is a function of the log's prefix alone, whatever the batches were.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

SETTLED_EVERY = 16_384
"""Log positions between two settlings."""


class Query(Struct, frozen=True):
    """A named question. `sql` takes `$user_id`, `$settled` (the position up to which is settled) and the named
    `parameters`; `row` is an array-like struct that decodes one row. Times in rows are epoch microseconds (`*_us`).
    `finish` makes the rows of what SQL found, for what SQL cannot say; it gets the parameters too and may sort in place.
    """

    name: str
    sql: str
    row: type[Struct]
    parameters: tuple[str, ...] = ()
    finish: Callable[[list[tuple[Any, ...]], Mapping[str, Any]], list[tuple[Any, ...]]] | None = None


class Fold(Struct, frozen=True):
    """The rows that each event gives by itself: `sql` selects them from the relation `batch` (columns:
    projector/staging.py), in the order of the columns of the table `into`.

    Settling inserts them into the table. Questions ask the view `<into>_now`: the table and what the recent events give.
    """

    into: str
    sql: str


class ReadModel(Struct, frozen=True):
    """A derived table (or a few) with the question it answers.

    `version` rises whenever `tables`, `fold` or `settle` changes: derived tables have no migrations, they are rebuilt.
    `settle` statements run after the rows of `fold` are in their tables; they see the events being settled as `batch`,
    at positions from `$from` up to before `$to`. No clock, no random, no sequence.
    """

    name: str
    version: int
    tables: str
    fold: tuple[Fold, ...] = ()
    settle: tuple[str, ...] = ()
    queries: tuple[Query, ...] = ()
