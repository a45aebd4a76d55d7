"""The newest keys, as they are, in memory: repetitions come soon, and a set finds them without a statement.

Derived from the log, and never in the file. What may not live here: SQL.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from projector.staging import Head

KEPT = 65_536
"""Positions whose keys are kept at least; at most twice as many."""


class _Stretch:
    """The keys of the positions from `since` on."""

    def __init__(self, since: int) -> None:
        self.since = since
        self.event_ids: set[str] = set()
        self.natural_keys: set[str | None] = set()


class Newest:
    """The keys that stand at the positions from `since` up to before `until`."""

    def __init__(self) -> None:
        self.begin(0)

    def begin(self, position: int) -> None:
        """Forget all, and have the keys from `position` on."""
        self.until = position
        self._older, self._newer = _Stretch(position), _Stretch(position)

    @property
    def since(self) -> int:
        """The first position whose keys are here."""
        return self._older.since

    def add(self, heads: Iterable[Head], until: int) -> None:
        """Have the keys of these, too, which lie before position `until`."""
        if self.until - self._newer.since >= KEPT:
            self._older, self._newer = self._newer, _Stretch(self.until)
        for head in heads:
            self._newer.event_ids.add(head.event_id)
            if head.natural_key is not None:
                self._newer.natural_keys.add(head.natural_key)
        self.until = until

    def known(self, positions: Sequence[int], heads: Sequence[Head]) -> set[int]:
        """Those of `positions` of which a key is here."""
        a, b = self._older, self._newer
        return {
            position
            for position, head in zip(positions, heads, strict=True)
            if head.event_id in a.event_ids
            or head.event_id in b.event_ids
            or head.natural_key in a.natural_keys
            or head.natural_key in b.natural_keys
        }
