"""What a read route is: a declaration of its questions, of how their rows become `data`, and of its pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from api import cursors
from api.answers import Asked
from schemas.openapi import Operation
from schemas.read_models.model import Before
from streamkit.reads import Question

PREFIX = "/api/public/v2"


class History(Struct, frozen=True):
    """Which of a route's questions is the history that its pages go through, and the place of a row in it."""

    place: Callable[[Any], Before]
    question: int = 0


class Read(Operation, frozen=True, kw_only=True):
    """A GET that is answered from the read models, asked once at one position.

    `build` takes Asked and the rows of each question, in the order of `questions`. A `history` is asked for one row
    more than shown: whether there is a next page.
    """

    questions: Callable[[Asked], tuple[Question, ...]] = lambda asked: ()
    build: Callable[..., Any]
    history: History | None = None

    def paged(self, rows: list[list[Any]], limit: int) -> tuple[list[list[Any]], str | UnsetType | None]:
        """The rows to show, and the cursor of the next page: None on the last one, UNSET where there are no pages."""
        if self.history is None:
            return rows, UNSET
        asked = rows[self.history.question]
        shown = asked[:limit]
        rows = [*rows[: self.history.question], shown, *rows[self.history.question + 1 :]]
        return rows, cursors.encode(self.path, self.history.place(shown[-1])) if len(asked) > limit else None


def by_receipt(row: Any) -> Before:
    """The place of a row in a history that is ordered by receipt."""
    return row.received_us, row.position


def paged(name: str, asked: Asked) -> Question:
    """A page of the named history, and one row more."""
    return Question(name, {"limit": asked.parameters.limit + 1, "before": asked.parameters.before})


def limited(name: str, asked: Asked) -> Question:
    """The first rows of the named question."""
    return Question(name, {"limit": asked.parameters.limit})
