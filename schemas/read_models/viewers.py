"""What is a viewer called now?

A viewer is (platform, platform user id). The newest name (latest `occurred_at`, then `event_id`) counts; a first-party
event never renames whom a platform has named, and a list of subscribers names only whom no event has. The names lie
beside the balances (coins.py), a row for each viewer of whom a settled stretch of the log tells.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from schemas.read_models.model import Reading, lately

TOLD = "STRUCT(weight UTINYINT, us BIGINT, event_id VARCHAR, name VARCHAR)"
"""A name and what told it: the greatest is the newest. `weight`: 2 a platform's event, 1 a first-party event, 0 a list
of subscribers."""

LISTING = ("channel.subscription.gifts", "channel.subscription.snapshot")

_BY_ACTORS = """
    SELECT position, user_id, platform, actor_id AS viewer_id,
        {'weight': (CASE WHEN starts_with(event_id, 'streamkit:') THEN 1 ELSE 2 END)::UTINYINT,
            'us': epoch_us(occurred_at), 'event_id': event_id, 'name': actor_name} AS told
    FROM batch WHERE actor_id IS NOT NULL
"""
_BY_LISTS = f"""
    SELECT position, user_id, platform, viewer.id AS viewer_id,
        {{'weight': (CASE type WHEN 'channel.subscription.gifts' THEN 2 ELSE 0 END)::UTINYINT,
            'us': epoch_us(occurred_at), 'event_id': event_id, 'name': viewer.name}} AS told
    FROM (
        SELECT position, user_id, platform, type, occurred_at, event_id,
            unnest(coalesce(giftees, subscribers)) AS viewer
        FROM batch WHERE type IN {LISTING}
    )
"""
NAMED = f"{_BY_ACTORS} UNION ALL {_BY_LISTS}"
"""(position, user_id, platform, viewer_id, told) of every name that the relation `batch` tells."""

_OF_VIEWERS = "user_id = $user_id AND platform || ':' || viewer_id IN (SELECT unnest($viewers::VARCHAR[]))"
"""Of two columns: what DuckDB can ask of one, it asks of all broadcasters' rows nearby."""
SETTLED = f"SELECT platform, viewer_id, told FROM coins_viewers WHERE {_OF_VIEWERS} AND told IS NOT NULL"
BY_RECENT_ACTORS = f"SELECT platform, viewer_id, told FROM ({lately(_BY_ACTORS)}) WHERE {_OF_VIEWERS}"
BY_RECENT_LISTS = f"SELECT platform, viewer_id, told FROM ({lately(_BY_LISTS)}) WHERE {_OF_VIEWERS}"

Viewer = tuple[str, str]
"""(platform, platform user id)."""


def newest(reading: Reading, viewers: Iterable[Viewer]) -> dict[Viewer, tuple[Any, ...]]:
    """What told the newest name of each of these viewers, as (weight, epoch microseconds, event id, name)."""
    asked = [f"{platform}:{viewer_id}" for platform, viewer_id in viewers]
    if not asked:
        return {}
    sources = [SETTLED]
    if reading.recent:
        sources.append(BY_RECENT_ACTORS)
    if not reading.recent.keys().isdisjoint(LISTING):
        sources.append(BY_RECENT_LISTS)
    told: dict[Viewer, tuple[Any, ...]] = {}
    for sql in sources:
        for platform, viewer_id, name in reading.rows(sql, viewers=asked):
            told[platform, viewer_id] = max(told.get((platform, viewer_id), (-1,)), tuple(name.values()))
    return told


def newest_names(reading: Reading, viewers: Iterable[Viewer]) -> dict[Viewer, str]:
    """The newest name of each of these viewers, all of whom some event has named."""
    return {viewer: told[-1] for viewer, told in newest(reading, viewers).items()}
