"""The read models: one file per question the API answers, top to bottom: question, row, table, fold, query.

Each module exports `READ_MODEL`. The projector creates the tables, runs the folds over the staged batch, and answers
the named queries; api decodes the rows. The SQL is DuckDB's; nothing here runs it.
"""

from __future__ import annotations

from schemas.read_models import (
    active_subscriptions,
    coins,
    events,
    gamble,
    giveaway,
    kicks,
    loyalty_rules,
    songs,
    stream_status,
    subscription_history,
    subscription_totals,
    wheel,
)
from schemas.read_models.model import SETTLED_EVERY, SORTED_EVERY, Fold, Query, ReadModel

__all__ = ["QUERIES", "READ_MODELS", "SETTLED_EVERY", "SORTED_EVERY", "Fold", "Query", "ReadModel"]

READ_MODELS: tuple[ReadModel, ...] = (
    loyalty_rules.READ_MODEL,
    subscription_history.READ_MODEL,
    coins.READ_MODEL,
    subscription_totals.READ_MODEL,
    active_subscriptions.READ_MODEL,
    kicks.READ_MODEL,
    stream_status.READ_MODEL,
    events.READ_MODEL,
    songs.READ_MODEL,
    giveaway.READ_MODEL,
    wheel.READ_MODEL,
    gamble.READ_MODEL,
)

QUERIES: dict[str, Query] = {query.name: query for model in READ_MODELS for query in model.queries}
