"""The choices that random logs are made of: few broadcasters, few viewers, few ids, times beside the boundaries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeVar

from schemas.kinds import Viewer

T = TypeVar("T")
PlatformName = Literal["kick", "twitch"]

USERS = (1, 2)
PLATFORMS: tuple[PlatformName, ...] = ("kick", "twitch")
VIEWER_IDS = ("9", "10", "100")
NAMES = ("Ann", "ann", "Bea", "straße", "STRASSE", "İpek", "o'Neil", "雪")
TEXTS = (None, "", "hello", " ", "!join now", "\u00df\U0001f600", 'q"\\\n', "null", "nul\0byte")

# Ends of months of 31, 30, 29 and 28 days, and the turn of a year: where calendar months are clamped.
BASES = tuple(
    datetime(*day, 12, 0, tzinfo=UTC)
    for day in ((2024, 1, 31), (2024, 2, 29), (2025, 1, 29), (2025, 4, 30), (2024, 12, 31))
)
# The suppression window's two ends, a minute's and a month's boundaries, each with its neighbours.
SPANS = (
    timedelta(0),
    timedelta(seconds=59, microseconds=999_999),
    timedelta(minutes=1),
    timedelta(seconds=90),
    timedelta(minutes=10),
    timedelta(days=1),
    timedelta(days=29),
    timedelta(days=30),
    timedelta(days=31),
    timedelta(days=365),
)
NUDGES = (timedelta(0), timedelta(0), timedelta(microseconds=1), timedelta(microseconds=-1))


class Hand:
    """Every choice of one log comes from `number(low, high)`, both ends inclusive: hypothesis draws it, or a seed.

    `ids`: how many giveaways there are at most. In some logs all happens within a few distinct moments.
    """

    def __init__(
        self, number: Callable[[int, int], int], viewer_ids: Sequence[str] = VIEWER_IDS, *, ids: int = 3
    ) -> None:
        self.number = number
        self._viewer_ids = viewer_ids
        self._ids = self.number(1, ids)
        crowded = self.chance(3)
        self._bases = (self.pick(BASES),) if crowded else (self.pick(BASES), self.pick(BASES))
        self._spans = SPANS[:3] if crowded else SPANS

    def pick(self, choices: Sequence[T]) -> T:
        return choices[self.number(0, len(choices) - 1)]

    def chance(self, one_in: int) -> bool:
        return self.number(1, one_in) == one_in

    def time(self) -> datetime:
        return self.pick(self._bases) + self.pick(self._spans) + self.pick(NUDGES)

    def maybe_time(self) -> datetime | None:
        return None if self.chance(8) else self.time()

    def id(self, times: int = 1) -> str:
        """A giveaway's; a song's, of which there are so many times as many."""
        return f"Id {self.number(1, times * self._ids)}"

    def viewer(self) -> Viewer:
        return Viewer(self.pick(self._viewer_ids), self.pick(NAMES))

    def viewers(self) -> tuple[Viewer, ...]:
        return tuple(
            Viewer(id, self.pick(NAMES)) for id in self._viewer_ids if self.chance(len(self._viewer_ids) // 2 + 1)
        )
