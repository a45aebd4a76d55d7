"""Is the broadcaster live on a platform, under which title and in which category?

A stream is (platform, Kick's `started_at` or Twitch's stream id). Its end is final, whenever a start arrives. The
newest stream whose start was told decides; a Twitch end without id ends the newest one that started before it. What
was told is kept as it came, a few rows a stream; the question sorts it out.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from msgspec import Struct

from schemas.read_models.model import Fold, Query, Reading, ReadModel, Rows


class StreamStatusRow(Struct, frozen=True, array_like=True):
    """One platform of which anything is known; title and category are the newest, live or not (None: none)."""

    platform: str
    is_live: bool
    viewer_count: int | None
    title: str | None
    category_name: str | None


COLUMNS = """
    position BIGINT, user_id BIGINT, platform VARCHAR, occurred_at TIMESTAMPTZ, event_id VARCHAR,
    stream VARCHAR, is_live BOOLEAN, started_at TIMESTAMPTZ,
    has_title BOOLEAN, title VARCHAR, has_category BOOLEAN, category VARCHAR
"""
"""`is_live` null: not about a stream. `stream` null: an end that names none. `has_title` with a null title: the title
was taken away."""

STATUS = "livestream.status.updated"
METADATA = "livestream.metadata.updated"

TOLD = f"""
SELECT position, user_id, platform, occurred_at, event_id,
    coalesce(CASE platform WHEN 'twitch' THEN stream_id ELSE epoch_us(started_at)::VARCHAR END,
        CASE WHEN is_live THEN '' END),
    is_live, CASE WHEN is_live THEN coalesce(started_at, occurred_at) END,
    type = '{METADATA}' OR title IS NOT NULL, title, type = '{METADATA}', category_name
FROM batch WHERE type IN ('{STATUS}', '{METADATA}')
"""

STREAMS = """
SELECT platform, stream,
    min({'at': epoch_us(started_at), 'event_id': event_id}) FILTER (is_live) AS started,
    coalesce(bool_or(NOT is_live), false) AS ended,
    max(epoch_us(occurred_at)) FILTER (NOT is_live) AS ended_us,
    max({'at': epoch_us(occurred_at), 'event_id': event_id, 'text': title}) FILTER (has_title) AS title,
    max({'at': epoch_us(occurred_at), 'event_id': event_id, 'text': category}) FILTER (has_category) AS category
FROM stream_status_now WHERE user_id = $user_id GROUP BY platform, stream
"""


def now(reading: Reading) -> Rows:
    """`StreamStatusRow`, one per platform of which anything is known."""
    by_platform: dict[str, Rows] = defaultdict(list)
    for platform, *row in reading.rows(STREAMS):
        by_platform[platform].append(tuple(row))
    return [
        (platform, _is_live(platform, rows), None, _newest(row[4] for row in rows), _newest(row[5] for row in rows))
        for platform, rows in sorted(by_platform.items())
    ]


def _is_live(platform: str, rows: Rows) -> bool:
    told = [(started["at"], started["event_id"], ended) for _, started, ended, *_ in rows if started is not None]
    if not told:
        return False
    started_us, _, ended = max(told)
    nameless_end = next((ended_us for stream, _, _, ended_us, *_ in rows if stream is None), None)
    return not ended and not (platform == "twitch" and nameless_end is not None and nameless_end > started_us)


def _newest(told: Any) -> str | None:
    """Of structs (at, event_id, text) and None, the text of the greatest."""
    known = [(one["at"], one["event_id"], one["text"]) for one in told if one is not None]
    return max(known, key=lambda one: one[:2])[2] if known else None


READ_MODEL = ReadModel(
    name="stream_status",
    version=2,
    fold=(Fold(into="stream_status", columns=COLUMNS, sql=TOLD),),
    queries=(Query(name="stream_status", row=StreamStatusRow, answer=now),),
)
