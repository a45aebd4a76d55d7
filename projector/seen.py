"""Which deliveries have stood before: exact, on the full key, however far back.

Of deliveries that share an `event_id` or a `natural_key`, the first in the log stands whole; the others leave no
trace. The two namespaces lie in one table, `seen`: a 64-bit hash to probe with, then the full key is compared. A small batch
asks the newest keys in memory (seen_newest.py), and of the others a filter (seen_filter.py) before it looks into the table.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from projector.session import Session
from projector.staging import Head

TABLES = """
CREATE TABLE seen (position BIGINT, space UTINYINT, hash UBIGINT, key VARCHAR);
"""
"""`space` 0: event ids, 1: natural keys. In the order of their positions, so that a look at some reads a few blocks."""

LOADED_AT_ONCE = 65_536
"""Positions whose keys a batch takes into the filter at most, so that none waits long after a start."""
LARGE = 16_384
"""Records of a batch that looks through all keys: by the record, that takes less than the filter."""

_KEYS = """
    SELECT position, 0::UTINYINT AS space, hash(event_id) AS hash, event_id AS key FROM {batch}
    UNION ALL
    SELECT position, 1::UTINYINT, hash(natural_key), natural_key FROM {batch} WHERE natural_key IS NOT NULL
"""

_PROBE = """
SELECT arrived.position, arrived.space, seen.rowid
FROM seen JOIN (SELECT position, space, hash FROM ({keys})) AS arrived USING (hash)
WHERE seen.space = arrived.space AND seen.position >= $since AND seen.position < $until
"""

_FULL_KEYS = "SELECT rowid, key FROM seen WHERE position >= $1 AND rowid IN (SELECT unnest($2::BIGINT[]))"

_LOAD = "SELECT list(key) FROM seen WHERE position >= $1 AND position < $2"

_OLD_KEYS = """
SELECT space, key FROM seen
WHERE position < $1 AND hash IN (SELECT hash(maybe) FROM (SELECT unnest($2::VARCHAR[]) AS maybe))
"""


def fallen_of(session: Session, batch: str, start: int, positions: Sequence[int], heads: Sequence[Head]) -> list[int]:
    """Those of `positions`, all in the table `batch`, that do not stand. The session's file is at position `start`."""
    by_position = dict(zip(positions, heads, strict=True))
    if session.newest.until != start:
        session.newest.begin(start)
    if len(positions) >= LARGE:
        return _fallen(positions, heads, _looked_through(session, batch, (0, start), by_position))
    since = session.newest.since
    _load(session, since)
    hits = session.newest.known(positions, heads)
    if session.filter.loaded:
        hits |= _old(session, by_position)
    if session.filter.loaded < since:
        hits |= _looked_through(session, batch, (session.filter.loaded, since), by_position)
    return _fallen(positions, heads, hits)


def _load(session: Session, until: int) -> None:
    """Take more keys into the session's filter, of those that are kept of the positions before `until`."""
    known = session.filter
    until = min(until, known.loaded + LOADED_AT_ONCE)
    if until > known.loaded:
        ((keys,),) = session.execute(_LOAD, [known.loaded, until]).fetchall()
        known.add(map(hash, keys or ()))
        known.loaded = until


def _looked_through(session: Session, batch: str, within: tuple[int, int], by_position: Mapping[int, Head]) -> set[int]:
    """The positions in `batch` of which a key stands at a position from the first of `within` up to before the second."""
    since, until = within
    probed = session.execute(_PROBE.format(keys=_KEYS.format(batch=batch)), {"since": since, "until": until}).fetchall()
    if not probed:
        return set()
    full_keys = dict(session.execute(_FULL_KEYS, [since, [row for _, _, row in probed]]).fetchall())
    return {
        position
        for position, space, row in probed  # equal hashes: compare the keys themselves
        if full_keys[row] == (by_position[position].natural_key if space else by_position[position].event_id)
    }


def _old(session: Session, by_position: Mapping[int, Head]) -> set[int]:
    """The positions of which a key stands at a position that the filter knows."""
    known = session.filter
    asked = [(0, head.event_id, position) for position, head in by_position.items()]
    asked += [(1, head.natural_key, position) for position, head in by_position.items() if head.natural_key is not None]
    maybe = [asked[index] for index in known.may_have([hash(key) for _, key, _ in asked])]
    if not maybe:
        return set()
    old = set(session.execute(_OLD_KEYS, [known.loaded, [key for _, key, _ in maybe]]).fetchall())
    return {position for space, key, position in maybe if (space, key) in old}


def remember(
    session: Session, start: int, positions: Sequence[int], heads: Sequence[Head], fallen: Collection[int], until: int
) -> None:
    """What was folded is committed, and the session's file has moved from `start` to `until`."""
    if len(positions) >= LARGE:
        session.newest.begin(until)
        return
    if session.newest.until != start:
        session.newest.begin(start)
    gone = set(fallen)
    session.newest.add((head for position, head in zip(positions, heads, strict=True) if position not in gone), until)


def drop(session: Session, batch: str, fallen: Sequence[int]) -> None:
    """Delete what does not stand from the table `batch`."""
    if fallen:
        session.execute(f"DELETE FROM {batch} WHERE position IN (SELECT unnest($1::BIGINT[]))", [fallen])


def keep(session: Session, batch: str) -> None:
    """Remember the keys of what lies in `batch`, in the file."""
    session.execute(f"INSERT INTO seen SELECT position, space, hash, key FROM ({_KEYS.format(batch=batch)})")


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
