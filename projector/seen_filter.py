"""Which hashes may have been seen: a table of 16 bits for each in memory, which is sure of what it does not have.

Derived from the table `seen`, and never in the file. What may not live here: keys, SQL.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

FIRST_SLOTS = 1 << 20
FULL = 0.6
"""Beyond this share of its slots a table gets a successor, which has twice as many: rows of taken slots grow long."""


class _Slots:
    """Open addressing: a hash lies, as 16 of its bits, in the first free slot from the one that other bits say."""

    def __init__(self, count: int) -> None:
        self.marks = array("H", bytes(2 * count))
        self.mask = count - 1
        self.room = int(count * FULL)


class Filter:
    """The hashes of the keys at positions before `loaded`. About 1 in 20,000 that it does not have it may have, too."""

    def __init__(self, first_slots: int = FIRST_SLOTS) -> None:
        self.loaded = 0
        self._next_slots = first_slots
        self._tables: list[_Slots] = []

    def add(self, hashes: Iterable[int]) -> None:
        """Have these 64-bit hashes from now on."""
        marks, mask, room = self._newest()
        for hash in hashes:
            if not room:
                self._tables.append(_Slots(self._next_slots))
                self._next_slots *= 2
                marks, mask, room = self._newest()
            mark, at = hash & 0xFFFF or 1, hash >> 16 & mask
            while (there := marks[at]) and there != mark:
                at = (at + 1) & mask
            if not there:
                marks[at] = mark
                room -= 1
        if self._tables:
            self._tables[-1].room = room

    def _newest(self) -> tuple[array[int], int, int]:
        if not self._tables:
            return array("H"), 0, 0
        table = self._tables[-1]
        return table.marks, table.mask, table.room

    def may_have(self, hashes: Sequence[int]) -> list[int]:
        """The indices of those that it may have."""
        found = []
        for table in self._tables:
            marks, mask = table.marks, table.mask
            for index, hash in enumerate(hashes):
                at = hash >> 16 & mask
                if there := marks[at]:
                    mark = hash & 0xFFFF or 1
                    while there and there != mark:
                        at = (at + 1) & mask
                        there = marks[at]
                    if there:
                        found.append(index)
        return found
