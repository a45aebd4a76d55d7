"""Is the broadcaster live on a platform, under which title and in which category?

A stream is (platform, Kick's `started_at` or Twitch's stream id). Its end is final, whenever a start arrives. The
newest stream whose start was told decides; a Twitch end without id ends the newest one that started before it. What
was told is kept as it came; the question sorts it out.

Polls tell too, and may be behind: a poll's word gives way to whatever was told otherwise up to GRACE_US before it. Later
than that, a live poll reopens a stream that ended, and one that is not live ends what nobody says is live any more.
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
    title STRUCT(us BIGINT, event_id VARCHAR, text VARCHAR), category STRUCT(us BIGINT, event_id VARCHAR, text VARCHAR),
    seen STRUCT(us BIGINT, event_id VARCHAR, viewers BIGINT), unseen_us BIGINT
"""
"""`stream` null: about none, or an end that names none. What an event does not tell is null; a `title` whose text is
null was taken away. `seen`, `unseen_us`: a poll found it live, found the channel not live. Structs, so that a question
finds the newest without building any."""

GRACE_US = 90_000_000

STATUS = "livestream.status.updated"
METADATA = "livestream.metadata.updated"
SNAPSHOT = "livestream.snapshot"

TEXT_US = f"epoch_us(occurred_at) - CASE type WHEN '{SNAPSHOT}' THEN {GRACE_US} ELSE 0 END"
"""How new a title is: a poll's may be the one before the change that has just been told."""

TOLD = f"""
SELECT position, user_id, platform,
    coalesce(CASE platform WHEN 'twitch' THEN stream_id ELSE epoch_us(started_at)::VARCHAR END,
        CASE WHEN is_live THEN '' END) AS stream,
    CASE WHEN is_live THEN {{'us': epoch_us(coalesce(started_at, occurred_at)), 'event_id': event_id}} END AS started,
    CASE WHEN type = '{STATUS}' AND NOT is_live THEN epoch_us(occurred_at) END AS ended_us,
    CASE WHEN type = '{METADATA}' OR title IS NOT NULL
        THEN {{'us': {TEXT_US}, 'event_id': event_id, 'text': title}} END AS title,
    CASE WHEN type = '{METADATA}' OR (type = '{SNAPSHOT}' AND category_name IS NOT NULL)
        THEN {{'us': {TEXT_US}, 'event_id': event_id, 'text': category_name}} END AS category,
    CASE WHEN type = '{SNAPSHOT}' AND is_live
        THEN {{'us': epoch_us(occurred_at), 'event_id': event_id, 'viewers': viewer_count}} END AS seen,
    CASE WHEN type = '{SNAPSHOT}' AND NOT is_live THEN epoch_us(occurred_at) END AS unseen_us
FROM batch WHERE type IN ('{STATUS}', '{METADATA}', '{SNAPSHOT}')
"""

STREAMS = """
SELECT platform, stream, min(started), max(ended_us), max(title), max(category), max(seen), max(unseen_us)
FROM stream_status_now WHERE user_id = $user_id GROUP BY platform, stream
"""


class _Stream(Struct, frozen=True):
    """What is known of one stream, or (`id` None) of none by its name; the fields as in COLUMNS."""

    id: str | None
    started: dict[str, Any] | None
    ended_us: int | None
    title: dict[str, Any] | None
    category: dict[str, Any] | None
    seen: dict[str, Any] | None
    unseen_us: int | None


def now(reading: Reading) -> Rows:
    """`StreamStatusRow`, one per platform of which anything is known."""
    by_platform: dict[str, list[_Stream]] = defaultdict(list)
    for platform, *row in reading.rows(STREAMS):
        by_platform[platform].append(_Stream(*row))
    return [_status(platform, streams) for platform, streams in sorted(by_platform.items())]


def _status(platform: str, streams: list[_Stream]) -> tuple[Any, ...]:
    stream = _live(platform, streams)
    return (
        platform,
        stream is not None,
        stream.seen["viewers"] if stream is not None and stream.seen is not None else None,
        _newest(one.title for one in streams),
        _newest(one.category for one in streams),
    )


def _live(platform: str, streams: list[_Stream]) -> _Stream | None:
    """The platform's newest stream, when it is live."""
    told = [(one.started["us"], one.started["event_id"], one) for one in streams if one.started is not None]
    if not told:
        return None
    started_us, _, stream = max(told, key=lambda one: one[:2])
    nameless = next((one for one in streams if one.id is None), None)
    ended_us = stream.ended_us
    if platform == "twitch" and nameless is not None and (nameless.ended_us or started_us) > started_us:
        ended_us = max(ended_us or started_us, nameless.ended_us or started_us)
    seen_us = stream.seen["us"] if stream.seen is not None else None
    if ended_us is not None and (seen_us is None or seen_us <= ended_us + GRACE_US):
        return None
    live_us = started_us if seen_us is None else max(started_us, seen_us)
    if nameless is not None and nameless.unseen_us is not None and nameless.unseen_us > live_us + GRACE_US:
        return None
    return stream


def _newest(told: Any) -> str | None:
    """Of structs (us, event_id, text) and None, the text of the greatest."""
    known = [(one["us"], one["event_id"], one["text"]) for one in told if one is not None]
    return max(known, key=lambda one: one[:2])[2] if known else None


READ_MODEL = ReadModel(
    name="stream_status",
    version=4,
    fold=(Fold(into="stream_status", kinds=(STATUS, METADATA, SNAPSHOT), columns=COLUMNS, sql=TOLD),),
    queries=(Query(name="stream_status", row=StreamStatusRow, answer=now),),
)
