"""Is the broadcaster live on a platform, under which title and in which category?

A stream is (platform, Kick's `started_at` or Twitch's stream id). Its end is final, whenever a start arrives. The
newest stream whose start was told decides; a Twitch end without id ends the newest one that started before it.
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
CREATE TABLE stream_status_streams (
    user_id BIGINT, platform VARCHAR, stream VARCHAR,
    started STRUCT(told_at TIMESTAMPTZ, event_id VARCHAR), ended BOOLEAN,
    PRIMARY KEY (user_id, platform, stream)
);
CREATE TABLE stream_status_channels (
    user_id BIGINT, platform VARCHAR,
    title STRUCT(told_at TIMESTAMPTZ, event_id VARCHAR, title VARCHAR),
    category STRUCT(told_at TIMESTAMPTZ, event_id VARCHAR, category VARCHAR),
    ended_at TIMESTAMPTZ,
    PRIMARY KEY (user_id, platform)
);
"""
"""`started`: the earliest telling, null while only the end was told. `ended_at`: the latest end that named no stream.
"""

STATUS = "livestream.status.updated"
METADATA = "livestream.metadata.updated"

_STREAM = """CASE platform WHEN 'twitch' THEN coalesce(stream_id, CASE WHEN is_live THEN '' END)
    ELSE coalesce(epoch_us(started_at)::VARCHAR, CASE WHEN is_live THEN '' END) END"""

STREAMS = f"""
INSERT INTO stream_status_streams
SELECT user_id, platform, stream, min(started), bool_or(NOT is_live)
FROM (
    SELECT user_id, platform, {_STREAM} AS stream, is_live,
        CASE WHEN is_live THEN {{'told_at': coalesce(started_at, occurred_at), 'event_id': event_id}} END AS started
    FROM batch WHERE type = '{STATUS}'
) WHERE stream IS NOT NULL GROUP BY user_id, platform, stream
ON CONFLICT DO UPDATE SET
    started = CASE WHEN stream_status_streams.started IS NULL THEN excluded.started
        WHEN excluded.started IS NULL THEN stream_status_streams.started
        WHEN excluded.started < stream_status_streams.started THEN excluded.started
        ELSE stream_status_streams.started END,
    ended = stream_status_streams.ended OR excluded.ended
"""


def _newer(column: str) -> str:
    ours, theirs = f"stream_status_channels.{column}", f"excluded.{column}"
    return f"""{column} = CASE WHEN {theirs} IS NULL THEN {ours} WHEN {ours} IS NULL THEN {theirs}
        WHEN {theirs} > {ours} THEN {theirs} ELSE {ours} END"""


CHANNELS = f"""
INSERT INTO stream_status_channels
SELECT user_id, platform,
    max({{'told_at': occurred_at, 'event_id': event_id, 'title': title}})
        FILTER (type = '{METADATA}' OR title IS NOT NULL),
    max({{'told_at': occurred_at, 'event_id': event_id, 'category': category_name}}) FILTER (type = '{METADATA}'),
    max(occurred_at) FILTER (platform = 'twitch' AND type = '{STATUS}' AND NOT is_live AND stream_id IS NULL)
FROM batch WHERE type IN ('{STATUS}', '{METADATA}') GROUP BY user_id, platform
ON CONFLICT DO UPDATE SET {_newer("title")}, {_newer("category")},
    ended_at = greatest(stream_status_channels.ended_at, excluded.ended_at)
"""

STATUS_NOW = """
SELECT channel.platform,
    coalesce(newest.started IS NOT NULL AND NOT newest.ended
        AND (channel.ended_at IS NULL OR channel.ended_at <= newest.started.told_at), false),
    NULL, channel.title.title, channel.category.category
FROM stream_status_channels AS channel
LEFT JOIN (
    SELECT platform, max({'started': started, 'ended': ended}) AS newest FROM stream_status_streams
    WHERE user_id = $user_id AND started IS NOT NULL GROUP BY platform
) AS stream USING (platform)
WHERE channel.user_id = $user_id ORDER BY channel.platform
"""

READ_MODEL = ReadModel(
    name="stream_status",
    version=1,
    tables=TABLES,
    fold=(
        Fold(kinds=frozenset({STATUS}), sql=STREAMS),
        Fold(kinds=frozenset({STATUS, METADATA}), sql=CHANNELS),
    ),
    queries=(Query(name="stream_status", sql=STATUS_NOW, row=StreamStatusRow),),
)
