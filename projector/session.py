"""A DuckDB connection that parses each statement once: for small batches, parsing is a good part of the time."""

from __future__ import annotations

from typing import Any

import duckdb

from projector.seen_filter import Filter
from projector.seen_newest import Newest

ENVIRONMENT = (
    duckdb.IOException,
    duckdb.TransactionException,  # a COMMIT that finds the disk full
    duckdb.OutOfMemoryException,
    duckdb.FatalException,
    duckdb.InternalException,
)
"""Errors that are no record's fault: the disk, the memory, DuckDB itself."""


KEPT = 2000
"""Parsed statements of a session: more texts than there are come only from prices that differ by broadcaster."""


class Session:
    """Wraps a connection; used by one thread at a time. `filter` and `newest` belong to whoever folds by it."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._parsed: dict[str, duckdb.Statement] = {}
        self.filter = Filter()
        self.newest = Newest()

    def execute(self, sql: str, parameters: Any = None) -> duckdb.DuckDBPyConnection:
        """Run one statement, kept in parsed form: for texts that come again. Fetch from what is returned."""
        statement = self._parsed.get(sql)
        if statement is None:
            (statement,) = self._connection.extract_statements(sql)
            if len(self._parsed) >= KEPT:
                self._parsed.clear()
            self._parsed[sql] = statement
        return self._connection.execute(statement, parameters)

    def execute_once(self, sql: str) -> duckdb.DuckDBPyConnection:
        """Run any number of statements whose text does not come again."""
        return self._connection.execute(sql)

    def cursor(self) -> Session:
        """Another session on the same database, for another thread."""
        return Session(self._connection.cursor())

    def interrupt(self) -> None:
        """Let the statement that runs raise duckdb.InterruptException; from any thread."""
        self._connection.interrupt()

    def close(self) -> None:
        """Release the connection; idempotent."""
        self._connection.close()
