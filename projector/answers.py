"""Answering: the named queries of one request, with the position they reflect, in one read transaction."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from typing import Any, TypeVar

from msgspec import Struct

from projector.fold import read_position, settled_before, used_in
from projector.session import Session
from schemas.read_models import QUERIES, READ_MODELS, Fold
from schemas.read_models.model import Reading, Recent, Rows
from streamkit.reads import Question

T = TypeVar("T")

RECENT = "SELECT type, count(*), min(epoch_us(occurred_at)) FROM recent WHERE user_id = $user_id GROUP BY type"

FOLDS = {f"{fold.into}_now": fold for model in READ_MODELS for fold in model.fold}


@lru_cache(4096)
def _folds_of(sql: str) -> tuple[Fold, ...]:
    """The folds whose recent rows the statement looks at."""
    return tuple(FOLDS[word] for word in set(re.findall(r"\w+_now\b", sql)) if word in FOLDS)


@lru_cache(4096)
def _narrowed(sql: str, quiet: frozenset[str]) -> str:
    """The statement without the recent rows of these folds, of which there are none."""
    for into in quiet:
        sql = re.sub(rf"\b{into}_now\b", into, sql)
    return sql


class Snapshot:
    """One broadcaster's read models at one position (schemas/read_models/model.py: Reading).

    `narrows`: the file is folded by the build's own models, whose kinds say which recent rows there can be."""

    def __init__(
        self, session: Session, user_id: int, position: int, recent: Mapping[str, Recent], *, narrows: bool = True
    ) -> None:
        self.user_id = user_id
        self._narrows = narrows
        self.settled = settled_before(position)
        self.recent = recent
        self._session = session
        self._made: dict[Callable[[Reading], Any], Any] = {}

    def rows(self, sql: str, **parameters: Any) -> Rows:
        """The rows of one statement."""
        if self._narrows:
            quiet = (fold.into for fold in _folds_of(sql) if self.recent.keys().isdisjoint(fold.kinds))
            sql = _narrowed(sql, frozenset(quiet))
        known = {"user_id": self.user_id, "settled": self.settled, **parameters}
        return self._session.execute(sql, used_in(sql, known)).fetchall()

    def shared(self, make: Callable[[Reading], T]) -> T:
        """What `make` gives, made once."""
        if make not in self._made:
            self._made[make] = make(self)
        made: T = self._made[make]
        return made


def recent_of(session: Session, user_id: int) -> dict[str, Recent]:
    """What there is of the broadcaster's events that are not settled yet, by type."""
    found = session.execute(RECENT, {"user_id": user_id}).fetchall()
    return {kind: Recent(events, first_us) for kind, events, first_us in found}


class Second(Struct, frozen=True):
    """A second connection to the file, and how to run work beside one's own."""

    session: Session
    run: Callable[[Callable[[], None]], Future[None]]


class Shared:
    """The questions of one request: whoever is free answers the next one. `recent` is of the same position (`recent_of`)."""

    def __init__(
        self, user_id: int, questions: Sequence[Question], recent: Mapping[str, Recent], *, narrows: bool = True
    ) -> None:
        self._narrows = narrows
        self._recent = recent
        self.rows: list[list[Any]] = [[]] * len(questions)
        self._user_id = user_id
        self._questions = questions
        self._next = itertools.count()

    def help(self, session: Session, position: int) -> None:
        """Answer what nobody has begun to, when `session` sees the file at `position` too."""
        with reading(session) as found:
            if found == position:
                self.work(session, position)

    def work(self, session: Session, position: int) -> None:
        """Answer what nobody has begun to, in the read transaction of `session`."""
        snapshot: Snapshot | None = None
        while (number := next(self._next)) < len(self._questions):
            snapshot = snapshot or Snapshot(session, self._user_id, position, self._recent, narrows=self._narrows)
            question = self._questions[number]
            query = QUERIES[question.name]
            parameters = {name: question.parameters[name] for name in query.parameters}
            self.rows[number] = [query.row(*row) for row in query.answer(snapshot, **parameters)]


@contextmanager
def reading(session: Session) -> Iterator[int]:
    """A read transaction; inside, the position of the file."""
    session.execute("BEGIN TRANSACTION READ ONLY")
    try:
        yield read_position(session)
    finally:
        session.execute("COMMIT")


def answer(
    session: Session,
    second: Second | None = None,
    *,
    user_id: int,
    questions: Sequence[Question],
    is_current: bool = True,
) -> tuple[int, list[list[Any]]]:
    """The file's position and the rows of every question as its row structs, all of one position.

    Blocks. Most of a question's time is planning, which one thread does: with a `second` connection two questions are
    answered at once. `is_current`: the file is folded by the build's own read models. Raises KeyError for a name that is no
    query, duckdb.Error for parameters that do not fit, or for a question that does not fit an older file.
    """
    with reading(session) as position:
        shared = Shared(user_id, questions, recent_of(session, user_id), narrows=is_current)
        if second is None or len(questions) < 2:
            shared.work(session, position)
            return position, shared.rows
        helping: Future[None] | None = None
        with suppress(RuntimeError):  # the pool is closing: then alone
            helping = second.run(partial(shared.help, second.session, position))
        try:
            shared.work(session, position)
        finally:
            if helping is not None and not helping.cancel():  # it has begun, and ends with the question that it is at
                helping.result()
    return position, shared.rows
