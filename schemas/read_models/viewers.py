"""Who is this viewer called now? The newest name of every viewer a broadcaster has met.

A viewer is (platform, platform user id). Names come from the actors of all events and from the giftees whom Kick
names; not from the targets of bans. The newest by `occurred_at`, then `event_id`, wins.
"""

from __future__ import annotations

from schemas.kinds import KINDS
from schemas.read_models.model import Fold, ReadModel

TABLES = """
CREATE TABLE viewers (
    user_id BIGINT, platform VARCHAR, viewer_id VARCHAR,
    name VARCHAR, named_at TIMESTAMPTZ, event_id VARCHAR,
    PRIMARY KEY (user_id, platform, viewer_id)
);
"""

_NEWEST = """
INSERT INTO viewers
SELECT user_id, platform, viewer_id, named.name, named.named_at, named.event_id
FROM (
    SELECT user_id, platform, viewer_id, max({{named_at: occurred_at, event_id: event_id, name: name}}) AS named
    FROM ({seen}) GROUP BY ALL
)
ON CONFLICT DO UPDATE SET name = excluded.name, named_at = excluded.named_at, event_id = excluded.event_id
WHERE (excluded.named_at, excluded.event_id) > (viewers.named_at, viewers.event_id)
"""

ACTORS = _NEWEST.format(
    seen="""
    SELECT user_id, platform, actor_id AS viewer_id, actor_name AS name, occurred_at, event_id
    FROM batch WHERE actor_id IS NOT NULL"""
)

GIFTEES = _NEWEST.format(
    seen="""
    SELECT user_id, platform, giftee.id AS viewer_id, giftee.name AS name, occurred_at, event_id
    FROM (SELECT user_id, platform, unnest(giftees) AS giftee, occurred_at, event_id FROM batch)"""
)

READ_MODEL = ReadModel(
    name="viewers",
    version=1,
    tables=TABLES,
    fold=(
        Fold(kinds=frozenset(KINDS), sql=ACTORS),
        Fold(kinds=frozenset({"channel.subscription.gifts"}), sql=GIFTEES),
    ),
)
