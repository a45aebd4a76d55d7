"""What a read model is made of."""

from __future__ import annotations

from msgspec import Struct


class Query(Struct, frozen=True):
    """A named question. `sql` takes `$user_id` and the named `parameters`; `row` is an array-like struct that
    decodes one row. Times in rows are epoch microseconds (`*_us`)."""

    name: str
    sql: str
    row: type[Struct]
    parameters: tuple[str, ...] = ()


class ReadModel(Struct, frozen=True):
    """A derived table (or a few), folded from events of `kinds` (None: of every kind).

    `version` rises whenever `tables` or `fold` changes: derived tables have no migrations, they are rebuilt.
    `fold` statements run in order inside the batch's transaction and see the staged batch as `batch`.
    """

    name: str
    version: int
    kinds: frozenset[str] | None
    tables: str
    fold: tuple[str, ...]
    queries: tuple[Query, ...]
