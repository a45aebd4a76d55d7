"""Parses records while those before them are folded, on a session of its own: two processors have work.

What may not live here: which records are read when.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from projector.fold import STAGED, Staged, stage
from projector.session import ENVIRONMENT, Session
from projector.staging import BadRecord


class Stager:
    """Of one file; used by one thread at a time, beside the one that folds. `session` is its own, and closed by it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._session.execute("SET TimeZone = 'UTC'")
        self._turn = 0

    def stage(self, positions: Sequence[int], values: Sequence[bytes]) -> Staged | None:
        """The records, parsed, good until the call after the next; None when some record cannot be folded. Blocks.
        Raises DuckDB's errors of the environment."""
        self._turn = 1 - self._turn
        try:
            return stage(self._session, f"{STAGED}.ahead_{self._turn}", positions, values)
        except ENVIRONMENT:
            raise
        except (BadRecord, duckdb.Error):
            return None

    def close(self) -> None:
        """Release the session; idempotent."""
        self._session.close()
