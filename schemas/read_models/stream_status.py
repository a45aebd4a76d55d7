"""Is the broadcaster live on a platform, under which title and in which category?

A stream is (platform, Kick's `started_at` or Twitch's stream id). Its end is final, whenever a start arrives. The
newest stream whose start was told decides; a Twitch end without id ends the newest one that started before it. What
was told is kept as it came; the question sorts it out.

Polls tell too, and may be behind: a poll's word gives way to whatever was told otherwise up to GRACE_US before it. Later
than that, a live poll reopens a stream that ended, and one that is not live ends what nobody says is live any more.
"""

from __future__ import annotations

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

_OF_STREAM = """min(started) AS started, max(ended_us) AS ended_us, max(title) AS title, max(category) AS category,
    max(seen) AS seen, max(unseen_us) AS unseen_us"""
"""Of what was told of a stream only the least and the greatest count, whatever was taken together before."""

TOGETHER = f"""
SELECT max(position) AS position, user_id, platform, stream, {_OF_STREAM}
FROM apart GROUP BY user_id, platform, stream, position // $every
"""
"""Polls come each minute, streams each day."""

NOW = f"""
SELECT platform, arg_max({{'started': started, 'ended_us': ended_us, 'seen': seen}}, started),
    max(ended_us) FILTER (stream IS NULL), max(unseen_us), max(title), max(category)
FROM (
    SELECT platform, stream, {_OF_STREAM} FROM stream_status_now WHERE user_id = $user_id GROUP BY platform, stream
) GROUP BY platform ORDER BY platform
"""
"""By platform: the stream that started last (null: none that is known to have started), the last end that names none, the
last poll that found nothing, and the newest texts."""


class _Stream(Struct, frozen=True):
    """A platform's newest stream; the fields as in COLUMNS."""

    started: dict[str, Any]
    ended_us: int | None
    seen: dict[str, Any] | None


def now(reading: Reading) -> Rows:
    """`StreamStatusRow`, one per platform of which anything is known."""
    rows: Rows = []
    for platform, newest, nameless_us, unseen_us, title, category in reading.rows(NOW):
        texts = (None if title is None else title["text"], None if category is None else category["text"])
        stream = None if newest is None else _Stream(**newest)
        if stream is None or not _is_live(stream, nameless_us if platform == "twitch" else None, unseen_us):
            rows.append((platform, False, None, *texts))
        else:
            rows.append((platform, True, None if stream.seen is None else stream.seen["viewers"], *texts))
    return rows


def _is_live(stream: _Stream, nameless_us: int | None, unseen_us: int | None) -> bool:
    """Whether nothing has ended it since it was found live: neither an end, of its own or (Twitch) nameless, nor a poll."""
    started_us: int = stream.started["us"]
    seen_us: int = started_us if stream.seen is None else stream.seen["us"]
    ends = [] if stream.ended_us is None else [stream.ended_us]
    if nameless_us is not None and nameless_us > started_us:
        ends.append(nameless_us)
    if ends and (stream.seen is None or seen_us <= max(ends) + GRACE_US):
        return False
    return unseen_us is None or unseen_us <= max(started_us, seen_us) + GRACE_US


READ_MODEL = ReadModel(
    name="stream_status",
    version=5,
    fold=(Fold("stream_status", kinds=(STATUS, METADATA, SNAPSHOT), columns=COLUMNS, sql=TOLD, together=TOGETHER),),
    queries=(Query(name="stream_status", row=StreamStatusRow, answer=now),),
)
