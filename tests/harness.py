"""Fold events through the real fold into a real DuckDB file, and ask it: what the laws and the specs stand on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from projector.answers import answer
from projector.database import open_file
from projector.fold import Folded as Commit
from projector.fold import fold as fold_batch
from projector.fold import read_position
from schemas.event import Event, encode_event
from schemas.read_models import QUERIES
from streamkit.reads import Question

LOG_ID = "harness"


class Folded:
    """A partition's file, folded from events at positions 0, 1, 2, …; close it when done."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.session = open_file(path, log_id=LOG_ID, partition=0)
        self.commits: list[Commit] = []

    @property
    def position(self) -> int:
        """The next position to fold."""
        return read_position(self.session)

    def more(self, events: Sequence[Event | bytes], *, batches: Sequence[int] | None = None) -> Folded:
        """Fold these events after the ones that are there, in batches of the given sizes (None: all at once; what
        the sizes leave over goes last)."""
        values = [event if isinstance(event, bytes) else encode_event(event) for event in events]
        position = self.position
        for size in [*(batches or ()), len(values)]:
            part, values = values[:size], values[size:]
            if part:
                positions = range(position, position + len(part))
                self.commits.append(fold_batch(self.session, position, positions, part, position + len(part)))
                position += len(part)
        return self

    def ask(self, user_id: int, name: str, **parameters: Any) -> list[Any]:
        """The rows of one named query, as its row structs; parameters left out are None."""
        parameters = dict.fromkeys(QUERIES[name].parameters) | parameters
        return answer(self.session, user_id=user_id, questions=[Question(name=name, parameters=parameters)])[1][0]

    def digest(self) -> dict[str, str]:
        """A digest of every table's content, of whatever order its rows are in; the position is left out."""
        tables = self.session.execute(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database() AND NOT temporary"
        ).fetchall()
        found: dict[str, str] = {}
        for (table,) in tables:
            if table in ("fold_position", "file_identity", "file_models"):
                continue
            rows = self.session.execute(
                f"SELECT count(*) || ':' || coalesce(sum(hash(t)::HUGEINT), 0) FROM {table} AS t"
            ).fetchone()
            assert rows is not None
            found[table] = rows[0]
        return found

    def close(self) -> None:
        """Release the file; idempotent."""
        self.session.close()

    def __enter__(self) -> Folded:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def fold(events: Sequence[Event | bytes], *, path: Path, batches: Sequence[int] | None = None) -> Folded:
    """A new file at `path` with these events folded; see `Folded.more`."""
    return Folded(path).more(events, batches=batches)
