"""Who gambled, for how much, and how did it end?"""

from __future__ import annotations

from msgspec import Struct

from schemas.read_models.model import Before, Fold, Query, Reading, ReadModel, Rows, page


class GambleRow(Struct, frozen=True, array_like=True):
    """One gamble: the player's name in the event, the game, how it ended, bet and payout in coins, and when."""

    username: str
    game_type: str
    outcome: str
    bet: int
    payout: int
    platform: str
    played_us: int
    event_id: str


COLUMNS = """
    position BIGINT, user_id BIGINT, username VARCHAR, game_type VARCHAR, outcome VARCHAR, bet BIGINT, payout BIGINT,
    platform VARCHAR, occurred_at TIMESTAMPTZ, event_id VARCHAR
"""

PLAYED = """
SELECT position, user_id, actor_name AS username, first_party->>'game_type' AS game_type,
    first_party->>'outcome' AS outcome, (first_party->>'bet')::BIGINT AS bet,
    (first_party->>'payout')::BIGINT AS payout, platform, occurred_at, event_id
FROM batch WHERE type = 'gamble.played'
"""

HISTORY = """
SELECT username, game_type, outcome, bet, payout, platform, epoch_us(occurred_at), event_id
FROM gamble_now WHERE user_id = $user_id {page}
ORDER BY occurred_at DESC, event_id DESC LIMIT $limit
"""


def history(reading: Reading, *, limit: int, before: Before | None) -> Rows:
    """`GambleRow`, newest first."""
    sql, place = page(before, time="occurred_at", tie="event_id")
    return reading.rows(HISTORY.format(page=sql), limit=limit, **place)


READ_MODEL = ReadModel(
    name="gamble",
    version=1,
    fold=(Fold(into="gamble", kinds=("gamble.played",), columns=COLUMNS, sql=PLAYED),),
    queries=(Query(name="gamble_history", row=GambleRow, answer=history, parameters=("limit", "before")),),
)
