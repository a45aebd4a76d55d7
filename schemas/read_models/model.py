"""What a read model is made of, and how it is kept.

The fold puts each batch, as it is, into one table, `recent`. At every log position divisible by SETTLED_EVERY what lies
there is settled: taken over into the read models' own tables, many events at a time, because in DuckDB it is the number
of statements that costs, and because whatever updates a table reads the whole of it. Questions look at both. All
state is a function of the log's prefix alone, whatever the batches were.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from msgspec import Struct

SETTLED_EVERY = 16_384
"""Log positions between two settlings."""

SORTED_EVERY = 64
"""Settled stretches that are sorted by broadcaster together."""


T = TypeVar("T")
Rows = list[tuple[Any, ...]]


class Recent(Struct, frozen=True):
    """Events of one type that are not settled yet: how many, and when the first of them happened."""

    events: int
    first_us: int


class Reading(Protocol):
    """What an answer has at hand: one broadcaster's read models, in one snapshot of one request."""

    @property
    def user_id(self) -> int:
        """The broadcaster."""

    @property
    def settled(self) -> int:
        """The log position before which all is settled."""

    @property
    def recent(self) -> Mapping[str, Recent]:
        """What there is of the broadcaster's events that are not settled yet, by type."""

    def rows(self, sql: str, **parameters: Any) -> Rows:
        """The rows of one statement, which may name `$user_id`, `$settled` and the parameters given. Planning a
        statement takes longer than running most, and grows with its length: several short ones are better than one
        that says everything. A view `<into>_now` is read as `<into>` while the broadcaster has no recent event that
        could give it a row."""

    def shared(self, make: Callable[[Reading], T]) -> T:
        """What `make` gives, made once for all questions of the request."""


class Query(Struct, frozen=True):
    """A named question. `answer` takes a Reading and the named `parameters`; `row` is an array-like struct that decodes
    one of its rows. Times in rows are epoch microseconds (`*_us`)."""

    name: str
    row: type[Struct]
    answer: Callable[..., Rows]
    parameters: tuple[str, ...] = ()


Before = tuple[int, Any]
"""A place in rows that are ordered newest first: epoch microseconds, and what breaks ties in them."""


def page(before: Before | None, *, time: str, tie: str) -> tuple[str, dict[str, Any]]:
    """SQL and parameters for the rows after a place in the order of `time` and `tie`, both descending."""
    if before is None:
        return "", {}
    at = "make_timestamptz($before_us::BIGINT)"
    return f"AND {time} <= {at} AND ({time} < {at} OR {tie} < $before_tie)", {
        "before_us": before[0],
        "before_tie": before[1],
    }


def lately(sql: str) -> str:
    """A fold's selection, of the events that are not settled yet."""
    return re.sub(r"\bbatch\b", "recent", sql)


class Fold(Struct, frozen=True):
    """The rows that each event of `kinds` gives by itself: `sql` selects them from the relation `batch` (columns:
    projector/staging.py), in the order of `columns`, of which `position` and `user_id` are two.

    Settling inserts them into the table `<into>`, each stretch by broadcaster. Sixty-four stretches of the log are laid
    anew together (unless not `by_user`), so that a question reads a few blocks of a broadcaster's rows. The view
    `<into>_now` has the rows of the recent events too.

    `together`, where there is one, selects from the relation `apart`, of the same columns, and groups by
    `position // $every`: of the rows of a stretch (when they are laid anew: of sixty-four) it makes fewer that answer alike.
    """

    into: str
    kinds: tuple[str, ...]
    columns: str
    sql: str
    by_user: bool = True
    together: str = ""


class ReadModel(Struct, frozen=True):
    """A derived table (or a few) with the question it answers.

    `version` rises whenever `tables`, `fold` or `settle` changes: derived tables have no migrations, they are rebuilt.
    `settle` statements run after the rows of `fold` are in their tables; they see the events being settled as `batch`,
    at positions from `$from` up to before `$to`. No clock, no random, no sequence.
    """

    name: str
    version: int
    tables: str = ""
    fold: tuple[Fold, ...] = ()
    settle: tuple[str, ...] = ()
    queries: tuple[Query, ...] = ()
