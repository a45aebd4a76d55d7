"""A platform's categories (Kick), games (Twitch): which one is meant by what a streamer says."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from msgspec import Struct

SUGGESTED = 5


class Category(Struct, frozen=True):
    """`id` as the platform has it, in digits."""

    id: str
    name: str


def meant(wanted: str, found: Sequence[Category]) -> Category | None:
    """The one that is called exactly so, else the first that differs in case alone, else the one with this id."""
    exactly = (one for one in found if one.name == wanted)
    in_any_case = (one for one in found if one.name.casefold() == wanted.casefold())
    by_id = (one for one in found if one.id == wanted)
    return next(chain(exactly, in_any_case, by_id), None)


def suggested(found: Sequence[Category]) -> str:
    """What to say when none is meant."""
    if not found:
        return "The platform has no category like that."
    return f"No category is called so; did you mean {', '.join(one.name for one in found[:SUGGESTED])}?"
