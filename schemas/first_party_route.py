"""`POST /ingest/v1/events` as consumers read of it in the OpenAPI document. The ingest room serves it."""

from __future__ import annotations

from schemas.first_party_sent import Accepted, Body
from schemas.openapi import Operation

PUSH_EVENTS = Operation(
    path="/ingest/v1/events",
    method="POST",
    tag="Events",
    summary="Push first-party events",
    description="Songs, giveaways, the wheel, gambles, coins and loyalty rules, from a bot or dashboard of the streamer's "
    "own: one event or up to 500, all or nothing. The `id` makes it idempotent for good: of everything sent under one id "
    "the first stands, so after a 429, a 503 or no answer send the same again. Answered when the log has the events. "
    "Where the rooms run apart this path is the ingest room's, on its own port. Text takes any character but NUL; of a "
    "key that stands twice in an object the last counts.",
    scope="events:write",
    appends=True,
    data=Accepted,
    example={"accepted": 1},
    body=Body,
    body_example={
        "id": "request-1",
        "type": "song.requested",
        "actor": {"platform": "twitch", "id": "42", "name": "viewer1"},
        "data": {"request_id": "song-1", "song_url": "https://youtu.be/dQw4w9WgXcQ"},
    },
)
