"""What is on the wheel, and what did it give?"""

from __future__ import annotations

from msgspec import Struct

from schemas.read_models.model import Before, Fold, Query, Reading, ReadModel, Rows, page


class WheelRow(Struct, frozen=True, array_like=True):
    """The newest configuration (no title: never configured) and the newest spin of all (None: never spun)."""

    title: str | None
    segments: list[str]
    last_result: str | None


class WheelSpinRow(Struct, frozen=True, array_like=True):
    """One spin: what it gave, who is named in the event (None: nobody), and when."""

    result: str
    actor: str | None
    spun_us: int
    event_id: str


COLUMNS = """
    position BIGINT, user_id BIGINT, type VARCHAR, occurred_at TIMESTAMPTZ, event_id VARCHAR, actor VARCHAR,
    title VARCHAR, segments VARCHAR[], result VARCHAR
"""

CONFIGURED, SPUN = KINDS = ("wheel.configured", "wheel.spun")

TOLD = f"""
SELECT position, user_id, type, occurred_at, event_id, actor_name AS actor, first_party->>'title' AS title,
    from_json(first_party->'segments', '["VARCHAR"]') AS segments, first_party->>'result' AS result
FROM batch WHERE type IN {KINDS}
"""
NEWEST = """
SELECT title, segments, result, actor, epoch_us(occurred_at), event_id FROM wheel_now
WHERE user_id = $user_id AND type = $type {page} ORDER BY occurred_at DESC, event_id DESC LIMIT $limit
"""


def now(reading: Reading) -> Rows:
    """`WheelRow`, one."""
    configured = reading.rows(NEWEST.format(page=""), type=CONFIGURED, limit=1)
    spun = reading.rows(NEWEST.format(page=""), type=SPUN, limit=1)
    title, segments = configured[0][:2] if configured else (None, [])
    return [(title, segments, spun[0][2] if spun else None)]


def history(reading: Reading, *, limit: int, before: Before | None) -> Rows:
    """`WheelSpinRow`, newest first."""
    sql, place = page(before, time="occurred_at", tie="event_id")
    return [row[2:] for row in reading.rows(NEWEST.format(page=sql), type=SPUN, limit=limit, **place)]


READ_MODEL = ReadModel(
    name="wheel",
    version=1,
    fold=(Fold(into="wheel", kinds=KINDS, columns=COLUMNS, sql=TOLD),),
    queries=(
        Query(name="wheel_now", row=WheelRow, answer=now),
        Query(name="wheel_history", row=WheelSpinRow, answer=history, parameters=("limit", "before")),
    ),
)
