"""Answering: the named queries of one request, with the position they reflect, in one read transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from projector.fold import read_position, settled_before, used_in
from projector.session import Session
from schemas.read_models import QUERIES
from streamkit.reads import Question


def answer(session: Session, user_id: int, questions: Sequence[Question]) -> tuple[int, list[list[Any]]]:
    """The file's position and the rows of every question as its row structs, all of one snapshot.

    Blocks. Raises KeyError for a name that is no query, duckdb.Error for parameters that do not fit.
    """
    session.execute("BEGIN TRANSACTION READ ONLY")
    try:
        position = read_position(session)
        rows = []
        for question in questions:
            query = QUERIES[question.name]
            parameters = {name: question.parameters[name] for name in query.parameters}
            known = {"user_id": user_id, "settled": settled_before(position), **parameters}
            found = session.execute(query.sql, used_in(query.sql, known)).fetchall()
            if query.finish is not None:
                found = query.finish(found, parameters)
            rows.append([query.row(*row) for row in found])
        return position, rows
    finally:
        session.execute("COMMIT")
