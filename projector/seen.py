"""Which deliveries have stood before: exact, on the full key, however far back.

Of deliveries that share an `event_id` or a `natural_key`, the first in the log stands whole; the others leave no
trace. The two namespaces lie in one table, `seen`: a 64-bit hash to probe with, then the full key is compared. A small batch
looks through the newest keys; of the others it asks a filter in memory (seen_filter.py) first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from projector.session import Session
from projector.staging import Head

TABLES = """
CREATE TABLE seen (position BIGINT, space UTINYINT, hash UBIGINT, key VARCHAR);
"""
"""`space` 0: event ids, 1: natural keys. In the order of their positions, so that a look behind one reads a few blocks."""

NEWEST = 262_144
"""Positions whose keys are not in the filter yet: repetitions come soon, and what is in the filter is slow to look up."""
LOADED_AT_ONCE = 65_536
"""Positions whose keys a batch takes into the filter at most, so that none waits long after a start."""
LARGE = 16_384
"""Records of a batch that looks through all keys: by the record, that takes less than the filter."""

_KEYS = """
    SELECT position, 0::UTINYINT AS space, hash(event_id) AS hash, event_id AS key
    FROM {batch} WHERE position >= $start
    UNION ALL
    SELECT position, 1::UTINYINT, hash(natural_key), natural_key
    FROM {batch} WHERE position >= $start AND natural_key IS NOT NULL
"""

_PROBE = """
SELECT arrived.position, arrived.space, seen.rowid
FROM seen JOIN (SELECT position, space, hash FROM ({keys})) AS arrived USING (hash)
WHERE seen.space = arrived.space AND seen.position >= $since
"""

_FULL_KEYS = "SELECT rowid, key FROM seen WHERE position >= $1 AND rowid IN (SELECT unnest($2::BIGINT[]))"

_HASHES = "SELECT list(position), list(hash) FROM ({keys})"

_LOAD = "SELECT list(hash) FROM seen WHERE position >= $1 AND position < $2"

_OLD_KEYS = "SELECT hash, space, key FROM seen WHERE position < $1 AND hash IN (SELECT unnest($2::UBIGINT[]))"


def drop_seen(session: Session, batch: str, positions: Sequence[int], heads: Sequence[Head]) -> int:
    """Delete from the table `batch` every delivery at `positions` that does not stand; how many were deleted. The keys
    of the others are kept."""
    fallen = fallen_of(session, batch, positions, heads)
    drop(session, batch, fallen)
    keep(session, batch, positions[0])
    return len(fallen)


def load(session: Session, start: int) -> None:
    """Take more keys into the session's filter, of those that are kept of the positions before `start`."""
    known = session.filter
    until = min(start - NEWEST, known.loaded + LOADED_AT_ONCE)
    if until >= known.loaded + LOADED_AT_ONCE:
        ((hashes,),) = session.execute(_LOAD, [known.loaded, until]).fetchall()
        known.add(hashes or ())
        known.loaded = until


def fallen_of(session: Session, batch: str, positions: Sequence[int], heads: Sequence[Head]) -> list[int]:
    """Those of `positions`, all in the table `batch`, that do not stand."""
    start = {"start": positions[0]}
    keys = _KEYS.format(batch=batch)
    by_position = dict(zip(positions, heads, strict=True))
    since = session.filter.loaded if len(positions) < LARGE else 0
    probed = session.execute(_PROBE.format(keys=keys), {**start, "since": since}).fetchall()
    hits: set[int] = set()
    if probed:  # equal hashes: compare the keys themselves
        full_keys = dict(session.execute(_FULL_KEYS, [since, [row for _, _, row in probed]]).fetchall())
        for position, space, row in probed:
            head = by_position[position]
            if full_keys[row] == (head.natural_key if space else head.event_id):
                hits.add(position)
    if since:
        ((at, hashes),) = session.execute(_HASHES.format(keys=keys), start).fetchall()
        hits |= _old(session, since, [(at[n], hashes[n]) for n in session.filter.may_have(hashes)], by_position)
    return _fallen(positions, heads, hits)


def _old(session: Session, before: int, maybe: list[tuple[int, int]], heads: Mapping[int, Head]) -> set[int]:
    """Of these (position, hash) the positions of which a key stands at a position before `before`."""
    if not maybe:
        return set()
    found = session.execute(_OLD_KEYS, [before, [hash for _, hash in maybe]]).fetchall()
    old = {(hash, space, key) for hash, space, key in found}
    hits = set()
    for position, hash in maybe:
        head = heads[position]
        if (hash, 0, head.event_id) in old or (hash, 1, head.natural_key) in old:
            hits.add(position)
    return hits


def drop(session: Session, batch: str, fallen: Sequence[int]) -> None:
    """Delete what does not stand (in rising order) from the table `batch`."""
    if fallen:
        session.execute(
            f"DELETE FROM {batch} WHERE position >= $1 AND position IN (SELECT unnest($2::BIGINT[]))",
            [fallen[0], fallen],
        )


def keep(session: Session, batch: str, start: int) -> None:
    """Remember the keys of what lies in `batch` at positions from `start` on."""
    session.execute(
        f"INSERT INTO seen SELECT position, space, hash, key FROM ({_KEYS.format(batch=batch)})", {"start": start}
    )


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
