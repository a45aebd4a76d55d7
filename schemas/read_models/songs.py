"""Which songs wait, in play order, and which were played or skipped?

Of the requests of one id the first by time stands. Played, skipped or removed is final, whenever it arrives; clearing
removes the standing requests that happened up to it.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from schemas.read_models.model import Before, Fold, Query, Reading, ReadModel, Rows, page


class SongQueueRow(Struct, frozen=True, array_like=True):
    """One song that waits: the requester's name in the event, where the song is, and when it was asked for."""

    requester: str
    provider: str
    song_url: str
    title: str | None
    duration_s: float | None
    request_id: str
    requested_us: int
    platform: str


class SongHistoryRow(Struct, frozen=True, array_like=True):
    """One song that was `played` or `skipped`, and when; what the request said is None when none was told."""

    requester: str | None
    provider: str | None
    song_url: str | None
    title: str | None
    outcome: Literal["played", "skipped"]
    ended_us: int
    event_id: str
    request_id: str


COLUMNS = """
    position BIGINT, user_id BIGINT, type VARCHAR, request_id VARCHAR, occurred_at TIMESTAMPTZ, event_id VARCHAR,
    platform VARCHAR, requester VARCHAR, provider VARCHAR, song_url VARCHAR, title VARCHAR, duration_s DOUBLE
"""

REQUESTED, CLEARED = "song.requested", "song.queue_cleared"
FINAL = ("song.played", "song.skipped", "song.removed")
KINDS = (REQUESTED, *FINAL, CLEARED)

TOLD = f"""
SELECT position, user_id, type, first_party->>'request_id' AS request_id, occurred_at, event_id, platform,
    actor_name AS requester, coalesce(first_party->>'provider', '') AS provider, first_party->>'song_url' AS song_url,
    first_party->>'title' AS title, (first_party->>'duration_s')::DOUBLE AS duration_s
FROM batch WHERE type IN {KINDS}
"""

_STANDING = f"""
SELECT * FROM songs_now WHERE user_id = $user_id AND type = '{REQUESTED}'
QUALIFY row_number() OVER (PARTITION BY request_id ORDER BY occurred_at, event_id) = 1
"""
QUEUE = f"""
SELECT requester, provider, song_url, title, duration_s, request_id, epoch_us(occurred_at), platform
FROM ({_STANDING}) WHERE request_id NOT IN (
        SELECT request_id FROM songs_now WHERE user_id = $user_id AND type IN {FINAL})
    AND occurred_at > coalesce(
        (SELECT max(occurred_at) FROM songs_now WHERE user_id = $user_id AND type = '{CLEARED}'), '-infinity')
ORDER BY occurred_at, event_id LIMIT $limit
"""
HISTORY = f"""
SELECT asked.requester, asked.provider, asked.song_url, asked.title, split_part(ended.type, '.', 2),
    epoch_us(ended.occurred_at), ended.event_id, ended.request_id
FROM (
    SELECT type, request_id, occurred_at, event_id FROM songs_now WHERE user_id = $user_id AND type IN {FINAL}
    QUALIFY row_number() OVER (PARTITION BY request_id ORDER BY occurred_at, event_id) = 1
) AS ended LEFT JOIN ({_STANDING}) AS asked USING (request_id)
WHERE ended.type <> 'song.removed' {{page}}
ORDER BY ended.occurred_at DESC, ended.event_id DESC LIMIT $limit
"""


def queue(reading: Reading, *, limit: int) -> Rows:
    """`SongQueueRow`, the one that is played next in front."""
    return reading.rows(QUEUE, limit=limit)


def history(reading: Reading, *, limit: int, before: Before | None) -> Rows:
    """`SongHistoryRow`, newest first. Of what ended one request the first by time counts."""
    sql, place = page(before, time="ended.occurred_at", tie="ended.event_id")
    return reading.rows(HISTORY.format(page=sql), limit=limit, **place)


READ_MODEL = ReadModel(
    name="songs",
    version=1,
    fold=(Fold(into="songs", kinds=KINDS, columns=COLUMNS, sql=TOLD),),
    queries=(
        Query(name="song_queue", row=SongQueueRow, answer=queue, parameters=("limit",)),
        Query(name="song_history", row=SongHistoryRow, answer=history, parameters=("limit", "before")),
    ),
)
