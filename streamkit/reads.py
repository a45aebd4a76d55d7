"""How api asks the read models, whether they live in this process or behind a projector's read port."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

LOG_ID_HEADER = "Streamkit-Log-Id"
"""With a read port's stream of changes: the log whose positions it tells."""


class Question(Struct, frozen=True):
    """A named query of schemas.read_models.QUERIES with its parameters (`$user_id` is added)."""

    name: str
    parameters: Mapping[str, Any] = {}


class Answer(Struct, frozen=True):
    """All rows of all questions, read at one position of the broadcaster's partition, in one transaction.

    `rows[i]` answers question i; each row is that query's `row` struct.
    """

    partition: int
    position: int
    rows: list[list[Any]]


class Change(Struct, frozen=True):
    """The projector moved `partition` to `position`; rows of `user_ids` changed (None: of anyone)."""

    partition: int
    position: int
    user_ids: frozenset[int] | None


class ReadModels(Protocol):
    """Asked once per response."""

    async def ask(
        self, user_id: int, questions: Sequence[Question], *, min_position: int = 0, wait_s: float = 0.0
    ) -> Answer:
        """Answer from one snapshot, at `min_position` or later; waits up to `wait_s` seconds for it.

        Raises Retry when the position is not reached in time or no projector serves the partition.
        """

    def partition_of(self, user_id: int) -> int:
        """The partition in which the broadcaster's events lie."""

    def on_change(self, callback: Callable[[Change], None]) -> None:
        """Call `callback` (on the event loop, must not block) after each commit this process learns of."""
