"""The read models: one file per question the API answers, top to bottom: question, row, table, fold, query.

Each module exports `READ_MODEL`. The projector creates the tables, runs the folds over the staged batch, and answers
the named queries; api decodes the rows. The SQL is DuckDB's; nothing here runs it.
"""

from __future__ import annotations

from schemas.read_models.model import Query, ReadModel

READ_MODELS: tuple[ReadModel, ...] = ()

QUERIES: dict[str, Query] = {query.name: query for model in READ_MODELS for query in model.queries}
