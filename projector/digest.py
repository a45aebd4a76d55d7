"""What two files of the same events have in common: all that answers depend on, whatever order their rows lie in.

Every table is compared, also what was seen; not where the file stands, nor how it was folded. The levels of `coins_viewers`
are one relation, summed by viewer: in which level a viewer's coins lie depends on where they were settled, and no answer
does. What may not live here: what is done about a difference.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import duckdb
import msgspec
from msgspec import Struct

from projector.session import Session
from schemas.read_models import READ_MODELS
from schemas.read_models.coins import LEVELS

NOT_COMPARED = ("fold_position", "file_identity", "file_models")
KEYS = ("position", "stretch", "minute", "user_id", "platform", "viewer_id", "rule", "space", "hash")
"""By those of these columns that a table has, a row of one file is held against one of the other."""

_LEVELS = tuple(f"coins_viewers_{level}" for level in range(1, LEVELS + 1))
_COINS = f"""
SELECT user_id, platform, viewer_id, max(told) AS told, sum(coins) AS coins
FROM ({" UNION ALL ".join(f"SELECT * FROM {{of}}.{level}" for level in _LEVELS)}) GROUP BY user_id, platform, viewer_id
"""
_BUCKETS = 4096
_row = msgspec.json.Decoder(dict[str, Any])
_HASH = "hash(row)::HUGEINT"


class Digest(Struct, frozen=True):
    """By table how many rows and what they hash to, together and each."""

    tables: dict[str, str]

    @property
    def text(self) -> str:
        """All of it in 16 hex digits."""
        return hashlib.sha256(msgspec.json.encode(sorted(self.tables.items()))).hexdigest()[:16]


class Difference(Struct, frozen=True):
    """One row that is not the same in both files; None: there is none. `key` has the columns by which it was found.

    `model` is the read model that the table belongs to (of the tables that belong to none: the table itself), `of` how
    many rows of the table differ in all. Times are text, in UTC.
    """

    model: str
    table: str
    key: dict[str, Any]
    a: dict[str, Any] | None
    b: dict[str, Any] | None
    of: int


def digest(session: Session) -> Digest:
    """The digest of the session's file, in one snapshot. Blocks: it reads everything, about a second by the million events."""
    return Digest({table: _sum(session, sql) for table, sql in _relations(session, _own_name(session)).items()})


def differences(a: Path, b: Path, limit: int) -> list[Difference]:
    """The rows in which the closed files differ, at most `limit` of each table; none: they are equal. Columns and
    tables that only one of them has are left out: they come with another version.

    Blocks, as long as `digest` of both. Raises duckdb.Error for a file that cannot be read.
    """
    session = Session(duckdb.connect(config={"temp_directory": str(b.parent / "comparing")}))
    try:
        for setting in ("SET TimeZone = 'UTC'", "SET threads = 1", "SET memory_limit = '384MB'"):
            session.execute(setting)
        for name, path in (("a", a), ("b", b)):
            quoted = str(path).replace("'", "''")
            session.execute_once(f"ATTACH '{quoted}' AS {name} (READ_ONLY)")
        of_a, of_b = _relations(session, "a"), _relations(session, "b")
        return [
            difference
            for table in of_a
            if table in of_b
            for difference in _differing(session, table, of_a[table], of_b[table], limit)
        ]
    finally:
        session.close()


def _own_name(session: Session) -> str:
    row = session.execute("SELECT current_database()").fetchone()
    assert row is not None
    return f'"{row[0]}"'


def _relations(session: Session, database: str) -> dict[str, str]:
    """What is compared of the database: SQL by name."""
    rows = session.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = $1 AND NOT temporary ORDER BY table_name",
        [database.strip('"')],
    ).fetchall()
    tables = [table for (table,) in rows if table not in NOT_COMPARED]
    found = {table: f"SELECT * FROM {database}.{table}" for table in tables if table not in _LEVELS}
    if set(_LEVELS) <= set(tables):
        found["coins_viewers"] = _COINS.format(of=database)
    return found


def _sum(session: Session, sql: str) -> str:
    row = session.execute(f"SELECT count(*) || ':' || coalesce(sum({_HASH}), 0) FROM ({sql}) AS row").fetchone()
    assert row is not None
    return str(row[0])


def _differing(session: Session, table: str, of_a: str, of_b: str, limit: int) -> list[Difference]:
    columns = _columns(session, of_a)
    columns = [column for column in columns if column in _columns(session, of_b)]
    listed = ", ".join(f'"{column}"' for column in columns)
    of_a, of_b = (f"SELECT {listed} FROM ({sql})" for sql in (of_a, of_b))
    if _sum(session, of_a) == _sum(session, of_b):
        return []
    counted = (
        f"SELECT hash(row) % {_BUCKETS} AS bucket, count(*) AS n, sum({_HASH}) AS s FROM ({{}}) AS row GROUP BY bucket"
    )
    # a row that differs changes the sum of its bucket: only of those are rows compared
    buckets = session.execute_once(
        f"SELECT bucket FROM ({counted.format(of_a)}) AS a FULL JOIN ({counted.format(of_b)}) AS b USING (bucket)"
        " WHERE a.n IS DISTINCT FROM b.n OR a.s IS DISTINCT FROM b.s"
    ).fetchall()
    within = f"hash(row) % {_BUCKETS} IN ({', '.join(str(bucket) for (bucket,) in buckets)})"
    rows_a, rows_b = (f"(SELECT * FROM ({sql}) AS row WHERE {within})" for sql in (of_a, of_b))
    keys = [key for key in KEYS if key in columns]
    # rows of one key are told apart by their place among them, so that each is held against one
    nth = f"SELECT *, row_number() OVER (PARTITION BY {', '.join(keys)} ORDER BY {listed}) AS nth FROM"
    session.execute_once(f"CREATE OR REPLACE TEMP TABLE only_a AS {nth} ({rows_a} EXCEPT ALL {rows_b})")
    session.execute_once(f"CREATE OR REPLACE TEMP TABLE only_b AS {nth} ({rows_b} EXCEPT ALL {rows_a})")
    alike = " AND ".join(f"only_a.{key} IS NOT DISTINCT FROM only_b.{key}" for key in [*keys, "nth"])
    as_json = "CASE WHEN {of}.nth IS NOT NULL THEN to_json(struct_pack({fields}))::VARCHAR END"
    shown = [
        as_json.format(of=of, fields=", ".join(f'"{column}" := {of}."{column}"' for column in columns))
        for of in ("only_a", "only_b")
    ]
    order = ", ".join(f"coalesce(only_a.{key}, only_b.{key})" for key in keys)
    found = session.execute_once(
        f"SELECT {', '.join(shown)}, count(*) OVER () FROM only_a FULL JOIN only_b ON {alike} ORDER BY {order} LIMIT {limit}"
    ).fetchall()
    return [_difference(table, keys, row_a, row_b, of) for row_a, row_b, of in found]


def _columns(session: Session, sql: str) -> list[str]:
    return [row[0] for row in session.execute_once(f"DESCRIBE {sql}").fetchall()]


def _difference(table: str, keys: list[str], text_a: str | None, text_b: str | None, of: int) -> Difference:
    row_a, row_b = (None if text is None else _row.decode(text) for text in (text_a, text_b))
    either = row_a or row_b or {}
    key = {name: either[name] for name in keys}
    return Difference(model=_model_of(table), table=table, key=key, a=row_a, b=row_b, of=of)


def _model_of(table: str) -> str:
    for model in READ_MODELS:
        made = {fold.into for fold in model.fold} | set(re.findall(r"CREATE (?:TABLE|VIEW) (\w+)", model.tables))
        if table in made:
            return model.name
    return table
