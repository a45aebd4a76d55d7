"""Is the broadcaster live on a platform, under which title and in which category?

A stream is (platform, Kick's `started_at` or Twitch's stream id). Its end is final, whenever a start arrives. The
newest stream whose start was told decides; a Twitch end without id ends the newest one that started before it. What
was told is kept as it came, a few rows a stream; the question sorts it out.
"""

from __future__ import annotations

from msgspec import Struct

from schemas.read_models.model import Fold, Query, ReadModel


class StreamStatusRow(Struct, frozen=True, array_like=True):
    """One platform of which anything is known; title and category are the newest, live or not (None: none)."""

    platform: str
    is_live: bool
    viewer_count: int | None
    title: str | None
    category_name: str | None


TABLES = """
CREATE TABLE stream_status (
    user_id BIGINT, platform VARCHAR, occurred_at TIMESTAMPTZ, event_id VARCHAR,
    stream VARCHAR, is_live BOOLEAN, started_at TIMESTAMPTZ,
    has_title BOOLEAN, title VARCHAR, has_category BOOLEAN, category VARCHAR
);
"""
"""`is_live` null: not about a stream. `stream` null: an end that names none. `has_title` with a null title: the title
was taken away."""

STATUS = "livestream.status.updated"
METADATA = "livestream.metadata.updated"

TOLD = f"""
SELECT user_id, platform, occurred_at, event_id,
    coalesce(CASE platform WHEN 'twitch' THEN stream_id ELSE epoch_us(started_at)::VARCHAR END,
        CASE WHEN is_live THEN '' END),
    is_live, CASE WHEN is_live THEN coalesce(started_at, occurred_at) END,
    type = '{METADATA}' OR title IS NOT NULL, title, type = '{METADATA}', category_name
FROM batch WHERE type IN ('{STATUS}', '{METADATA}')
"""

NOW = """
WITH told AS MATERIALIZED (SELECT * FROM stream_status_now WHERE user_id = $user_id),
newest AS (
    SELECT platform, max({'started': started, 'ended': ended}) AS stream FROM (
        SELECT platform, stream,
            min({'at': started_at, 'event_id': event_id}) FILTER (is_live) AS started, bool_or(NOT is_live) AS ended
        FROM told WHERE stream IS NOT NULL AND is_live IS NOT NULL GROUP BY platform, stream
    ) WHERE started IS NOT NULL GROUP BY platform
),
channel AS (
    SELECT platform,
        max({'at': occurred_at, 'event_id': event_id, 'title': title}) FILTER (has_title) AS title,
        max({'at': occurred_at, 'event_id': event_id, 'category': category}) FILTER (has_category) AS category,
        max(occurred_at) FILTER (platform = 'twitch' AND NOT is_live AND stream IS NULL) AS ended_at
    FROM told GROUP BY platform
)
SELECT platform,
    coalesce(NOT stream.ended AND (ended_at IS NULL OR ended_at <= stream.started['at']), false),
    NULL, title.title, category.category
FROM channel LEFT JOIN newest USING (platform) ORDER BY platform
"""

READ_MODEL = ReadModel(
    name="stream_status",
    version=1,
    tables=TABLES,
    fold=(Fold(into="stream_status", sql=TOLD),),
    queries=(Query(name="stream_status", sql=NOW, row=StreamStatusRow),),
)
