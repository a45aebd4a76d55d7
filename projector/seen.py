"""Which deliveries have stood before: exact, on the full key, however far back.

Of deliveries that share an `event_id` or a `natural_key`, the first in the log stands whole; the others leave no
trace. The two namespaces lie in one table, `seen`: a 64-bit hash to probe with, then the full key is compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import duckdb

from projector.staging import Head

VERSION = 1

TABLES = """
CREATE TABLE seen (space UTINYINT, hash UBIGINT, key VARCHAR);
"""
"""`space` 0: event ids, 1: natural keys."""

_PROBE = """
SELECT probe.position, probe.space, seen.rowid
FROM seen JOIN (
    SELECT position, 0::UTINYINT AS space, id_hash AS hash FROM batch
    UNION ALL SELECT position, 1::UTINYINT, key_hash FROM batch WHERE natural_key IS NOT NULL
) AS probe USING (hash)
WHERE seen.space = probe.space
"""

_COMPARE = """
SELECT probe.position, probe.space
FROM seen
JOIN (SELECT unnest($1::BIGINT[]) AS position, unnest($2::UTINYINT[]) AS space, unnest($3::BIGINT[]) AS row) AS probe
  ON seen.rowid = probe.row
JOIN batch USING (position)
WHERE seen.key = CASE probe.space WHEN 0 THEN batch.event_id ELSE batch.natural_key END
"""

_REMEMBER = """
INSERT INTO seen
SELECT 0, id_hash, event_id FROM batch
UNION ALL SELECT 1, key_hash, natural_key FROM batch WHERE natural_key IS NOT NULL
"""


def drop_seen(connection: duckdb.DuckDBPyConnection, positions: Sequence[int], heads: Sequence[Head]) -> int:
    """Delete from `batch` every delivery that does not stand; how many were deleted."""
    hits: set[tuple[int, int]] = set()
    probed = connection.execute(_PROBE).fetchall()
    if probed:
        hits = set(connection.execute(_COMPARE, [list(column) for column in zip(*probed, strict=True)]).fetchall())
    dropped = _fallen(positions, heads, hits)
    if dropped:
        connection.execute("DELETE FROM batch WHERE position IN (SELECT unnest($1::BIGINT[]))", [dropped])
    return len(dropped)


def remember(connection: duckdb.DuckDBPyConnection) -> None:
    """Keep the keys of what stands in `batch`."""
    connection.execute(_REMEMBER)


def _fallen(positions: Sequence[int], heads: Sequence[Head], hits: set[tuple[int, int]]) -> list[int]:
    """The positions that do not stand, in log order: what an earlier one that fell would have forbidden may stand."""
    ids = Counter(head.event_id for head in heads)
    keys = Counter(head.natural_key for head in heads)
    if not hits and len(ids) == len(heads) and all(key is None or n == 1 for key, n in keys.items()):
        return []
    standing_ids: set[str] = set()
    standing_keys: set[str] = set()
    fallen: list[int] = []
    for position, head in zip(positions, heads, strict=True):
        if (
            (position, 0) in hits
            or (position, 1) in hits
            or head.event_id in standing_ids
            or head.natural_key in standing_keys
        ):
            fallen.append(position)
            continue
        standing_ids.add(head.event_id)
        if head.natural_key is not None:
            standing_keys.add(head.natural_key)
    return fallen
