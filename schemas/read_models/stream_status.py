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
    position BIGINT, user_id BIGINT, platform VARCHAR, stream VARCHAR,
    started STRUCT(us BIGINT, event_id VARCHAR), ended_us BIGINT,
    title STRUCT(us BIGINT, event_id VARCHAR, text VARCHAR), category STRUCT(us BIGINT, event_id VARCHAR, text VARCHAR)
"""
"""`stream` null: about none, or an end that names none. What an event does not tell is null; a `title` whose text is
null was taken away. Structs, so that a question finds the newest without building any."""

STATUS = "livestream.status.updated"
METADATA = "livestream.metadata.updated"

TOLD = f"""
SELECT position, user_id, platform,
    coalesce(CASE platform WHEN 'twitch' THEN stream_id ELSE epoch_us(started_at)::VARCHAR END,
        CASE WHEN is_live THEN '' END) AS stream,
    CASE WHEN is_live THEN {{'us': epoch_us(coalesce(started_at, occurred_at)), 'event_id': event_id}} END AS started,
    CASE WHEN NOT is_live THEN epoch_us(occurred_at) END AS ended_us,
    CASE WHEN type = '{METADATA}' OR title IS NOT NULL
        THEN {{'us': epoch_us(occurred_at), 'event_id': event_id, 'text': title}} END AS title,
    CASE WHEN type = '{METADATA}'
        THEN {{'us': epoch_us(occurred_at), 'event_id': event_id, 'text': category_name}} END AS category
FROM batch WHERE type IN ('{STATUS}', '{METADATA}')
"""

STREAMS = """
SELECT platform, stream, min(started), max(ended_us), max(title), max(category)
FROM stream_status_now WHERE user_id = $user_id GROUP BY platform, stream
"""


def now(reading: Reading) -> Rows:
    """`StreamStatusRow`, one per platform of which anything is known."""
    by_platform: dict[str, Rows] = defaultdict(list)
    for platform, *row in reading.rows(STREAMS):
        by_platform[platform].append(tuple(row))
    return [
        (platform, _is_live(platform, rows), None, _newest(row[3] for row in rows), _newest(row[4] for row in rows))
        for platform, rows in sorted(by_platform.items())
    ]


def _is_live(platform: str, rows: Rows) -> bool:
    told = [(started["us"], started["event_id"], ended_us) for _, started, ended_us, *_ in rows if started is not None]
    if not told:
        return False
    started_us, _, ended_us = max(told, key=lambda one: one[:2])
    nameless_end = next((ended_us for stream, _, ended_us, *_ in rows if stream is None), None)
    return ended_us is None and not (platform == "twitch" and nameless_end is not None and nameless_end > started_us)


def _newest(told: Any) -> str | None:
    """Of structs (us, event_id, text) and None, the text of the greatest."""
    known = [(one["us"], one["event_id"], one["text"]) for one in told if one is not None]
    return max(known, key=lambda one: one[:2])[2] if known else None


READ_MODEL = ReadModel(
    name="stream_status",
    version=3,
    fold=(Fold(into="stream_status", kinds=(STATUS, METADATA), columns=COLUMNS, sql=TOLD),),
    queries=(Query(name="stream_status", row=StreamStatusRow, answer=now),),
)
