"""What the projector's room tells the command line of generations: how far a rebuild is, what there is, how two differ."""

from __future__ import annotations

from typing import Any, Literal, Protocol

from msgspec import Struct

from schemas.errors import StreamkitError
from streamkit.generations import Generations


class RebuildFailed(StreamkitError):
    """A partition cannot be folded, or its process ended; the sentence says what to do. What was folded stays."""


class Share(Struct, frozen=True):
    """One partition: the new file's position and the log's end."""

    position: int
    end: int


class Rebuilding(Struct, frozen=True):
    """`events` are those in the new generation, `folded` those that this run folded, at `events_per_s`; `eta_s` None: not
    known yet. `done` and `promoted` are true in the last one at most."""

    generation: int
    events: int
    events_per_s: int
    folded: int
    eta_s: float | None
    took_s: float
    partitions: dict[str, Share]
    done: bool = False
    promoted: bool = False


class Stored(Struct, frozen=True):
    """The files of a generation, here and where projectors answer from it. `state` of those here: `whole`, `building`,
    `interrupted`, or `elsewhere` when there are none. `digests` has those partitions whose digest was asked for and told."""

    state: Literal["whole", "building", "interrupted", "elsewhere"]
    positions: dict[str, int]
    versions: dict[str, int] | None
    bytes: int
    digests: dict[str, str]
    answers: tuple[int, ...]
    """The partitions that are answered from it."""


class Comparison(Struct, frozen=True):
    """Two generations, compared at `positions`: `differences` has the rows that are not the same, at most so many of each
    table; `rows` how many there are in all."""

    a: int
    b: int
    positions: dict[str, int]
    equal: bool
    rows: int
    differences: list[dict[str, Any]]


class Stock(Protocol):
    """What a command does with generations; the projector's room has it."""

    @property
    def generations(self) -> Generations:
        """As the log has them."""

    async def look(self, *, digests: bool) -> dict[int, Stored]:
        """What there is of each generation that stands. Raises LogUnavailable."""

    async def promote(self, generation: int) -> list[int]:
        """Make it the live one; those that were dropped for it. Raises LogUnavailable."""

    async def drop(self, generation: int) -> None:
        """Say that it goes, and delete it here when no projector runs. Raises LogUnavailable."""

    async def compare(self, a: int, b: int, limit: int) -> Comparison:
        """Raises NotComparable, LogUnavailable."""

    async def answered(self, generation: int) -> bool:
        """Whether all partitions that projectors tell of are answered from it; waits for it a while."""


class NotComparable(StreamkitError):
    """A file of one of them is not to be had; the sentence says why."""
