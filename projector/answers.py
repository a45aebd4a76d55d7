"""Answering: the named queries of one request, with the position they reflect, in one read transaction."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeVar

from projector.fold import read_position, settled_before, used_in
from projector.session import Session
from schemas.read_models import QUERIES, READ_MODELS, Fold
from schemas.read_models.model import Reading, Recent, Rows
from streamkit.reads import Question

T = TypeVar("T")

RECENT = "SELECT type, count(*), min(epoch_us(occurred_at)) FROM recent WHERE user_id = $user_id GROUP BY type"

FOLDS = {f"{fold.into}_now": fold for model in READ_MODELS for fold in model.fold}


@cache
def _folds_of(sql: str) -> tuple[Fold, ...]:
    """The folds whose recent rows the statement looks at."""
    return tuple(FOLDS[word] for word in set(re.findall(r"\w+_now\b", sql)) if word in FOLDS)


@cache
def _narrowed(sql: str, quiet: frozenset[str]) -> str:
    """The statement without the recent rows of these folds, of which there are none."""
    for into in quiet:
        sql = re.sub(rf"\b{into}_now\b", into, sql)
    return sql


class Snapshot:
    """One broadcaster's read models at one position (schemas/read_models/model.py: Reading)."""

    def __init__(self, session: Session, user_id: int, position: int) -> None:
        self.user_id = user_id
        self.settled = settled_before(position)
        recent = session.execute(RECENT, {"user_id": user_id}).fetchall()
        self.recent = {kind: Recent(events, first_us) for kind, events, first_us in recent}
        self._session = session
        self._made: dict[Callable[[Reading], Any], Any] = {}

    def rows(self, sql: str, **parameters: Any) -> Rows:
        """The rows of one statement."""
        sql = _narrowed(
            sql, frozenset(fold.into for fold in _folds_of(sql) if self.recent.keys().isdisjoint(fold.kinds))
        )
        known = {"user_id": self.user_id, "settled": self.settled, **parameters}
        return self._session.execute(sql, used_in(sql, known)).fetchall()

    def shared(self, make: Callable[[Reading], T]) -> T:
        """What `make` gives, made once."""
        if make not in self._made:
            self._made[make] = make(self)
        made: T = self._made[make]
        return made


def answer(session: Session, user_id: int, questions: Sequence[Question]) -> tuple[int, list[list[Any]]]:
    """The file's position and the rows of every question as its row structs, all of one snapshot.

    Blocks. Raises KeyError for a name that is no query, duckdb.Error for parameters that do not fit.
    """
    session.execute("BEGIN TRANSACTION READ ONLY")
    try:
        position = read_position(session)
        snapshot = Snapshot(session, user_id, position)
        rows = []
        for question in questions:
            query = QUERIES[question.name]
            parameters = {name: question.parameters[name] for name in query.parameters}
            rows.append([query.row(*row) for row in query.answer(snapshot, **parameters)])
        return position, rows
    finally:
        session.execute("COMMIT")
