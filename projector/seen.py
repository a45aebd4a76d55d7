"""Which deliveries have stood before: exact, on the full key, however far back.

Of deliveries that share an `event_id` or a `natural_key`, the first in the log stands whole; the others leave no
trace. The two namespaces lie in one table, `seen`: a 64-bit hash to probe with, then the full key is compared.
"""

from __future__ import annotations

from collections.abc import Sequence

from projector.session import Session
from projector.staging import Head

TABLES = """
CREATE TABLE seen (space UTINYINT, hash UBIGINT, key VARCHAR);
"""
"""`space` 0: event ids, 1: natural keys."""

_KEYS = """
    SELECT position, 0::UTINYINT AS space, hash(event_id) AS hash, event_id AS key
    FROM {batch} WHERE position >= $start
    UNION ALL
    SELECT position, 1::UTINYINT, hash(natural_key), natural_key
    FROM {batch} WHERE position >= $start AND natural_key IS NOT NULL
"""

_PROBE = """
SELECT arrived.position, arrived.space, seen.rowid
FROM seen JOIN (SELECT position, space, hash FROM ({keys})) AS arrived USING (hash) WHERE seen.space = arrived.space
"""

_FULL_KEYS = "SELECT rowid, key FROM seen WHERE rowid IN (SELECT unnest($1::BIGINT[]))"


def drop_seen(session: Session, batch: str, positions: Sequence[int], heads: Sequence[Head]) -> int:
    """Delete from the table `batch` every delivery at `positions` that does not stand; how many were deleted. The keys
    of the others are kept."""
    fallen = fallen_of(session, batch, positions, heads)
    drop(session, batch, fallen)
    keep(session, batch, positions[0])
    return len(fallen)


def fallen_of(session: Session, batch: str, positions: Sequence[int], heads: Sequence[Head]) -> list[int]:
    """Those of `positions`, all in the table `batch`, that do not stand."""
    probed = session.execute(_PROBE.format(keys=_KEYS.format(batch=batch)), {"start": positions[0]}).fetchall()
    hits: set[int] = set()
    if probed:  # equal hashes: compare the keys themselves
        full_keys = dict(session.execute(_FULL_KEYS, [[row for _, _, row in probed]]).fetchall())
        by_position = dict(zip(positions, heads, strict=True))
        for position, space, row in probed:
            head = by_position[position]
            if full_keys[row] == (head.natural_key if space else head.event_id):
                hits.add(position)
    return _fallen(positions, heads, hits)


def drop(session: Session, batch: str, fallen: Sequence[int]) -> None:
    """Delete what does not stand (in rising order) from the table `batch`."""
    if fallen:
        session.execute(
            f"DELETE FROM {batch} WHERE position >= $1 AND position IN (SELECT unnest($2::BIGINT[]))",
            [fallen[0], fallen],
        )


def keep(session: Session, batch: str, start: int) -> None:
    """Remember the keys of what lies in `batch` at positions from `start` on."""
    session.execute(f"INSERT INTO seen SELECT space, hash, key FROM ({_KEYS.format(batch=batch)})", {"start": start})


def _fallen(positions: Sequence[int], heads: Sequence[Head], hits: set[int]) -> list[int]:
    """The positions that do not stand, in log order: what an earlier one that fell would have forbidden may stand."""
    keys = [head.natural_key for head in heads if head.natural_key is not None]
    if not hits and len({head.event_id for head in heads}) == len(heads) and len(set(keys)) == len(keys):
        return []
    standing_ids: set[str] = set()
    standing_keys: set[str] = set()
    fallen: list[int] = []
    for position, head in zip(positions, heads, strict=True):
        if position in hits or head.event_id in standing_ids or head.natural_key in standing_keys:
            fallen.append(position)
            continue
        standing_ids.add(head.event_id)
        if head.natural_key is not None:
            standing_keys.add(head.natural_key)
    return fallen
