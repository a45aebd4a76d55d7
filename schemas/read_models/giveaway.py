"""Which giveaway is open or was the latest, who entered, and who won?

A giveaway's place is its first `opened`. It is open from then (inclusive) to the earliest of drawn, closed and the next
giveaway's opening (exclusive), all by `occurred_at`; what is drawn or closed before the opening leaves no open time. The
latest `opened` of an id gives the settings, and its keyword holds for the whole open time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from schemas.read_models.model import Before, Fold, Query, Reading, ReadModel, Rows


class GiveawayRow(Struct, frozen=True, array_like=True):
    """The open or latest giveaway. `settings`: further ones as sent, a JSON object. `winner` None: not drawn;
    `winner_entered`: whether an entry of the winner counts."""

    giveaway_id: str
    title: str
    keyword: str | None
    settings: str
    opened_us: int
    is_open: bool
    winner: str | None
    winner_platform: str | None
    winner_entered: bool | None


class GiveawayEntryRow(Struct, frozen=True, array_like=True):
    """One entrant under the name in the event that entered."""

    username: str
    platform: str


class GiveawayHistoryRow(Struct, frozen=True, array_like=True):
    """One giveaway: when it opened and ended (None: it is open), how many entered, who won (None: nobody yet)."""

    giveaway_id: str
    title: str
    keyword: str | None
    opened_us: int
    ended_us: int | None
    entries: int
    winner: str | None
    winner_platform: str | None
    event_id: str


COLUMNS = """
    position BIGINT, user_id BIGINT, type VARCHAR, giveaway_id VARCHAR, occurred_at TIMESTAMPTZ, event_id VARCHAR,
    platform VARCHAR, viewer_id VARCHAR, username VARCHAR, title VARCHAR, keyword VARCHAR, keyword_word VARCHAR,
    settings VARCHAR, winner_platform VARCHAR, winner_id VARCHAR, winner VARCHAR
"""
WORD_COLUMNS = """
    position BIGINT, user_id BIGINT, word VARCHAR, occurred_at TIMESTAMPTZ, event_id VARCHAR, platform VARCHAR,
    viewer_id VARCHAR, username VARCHAR
"""
"""The first words of chat, casefolded: a message may arrive before the giveaway whose keyword it is."""

OPENED, ENTERED, DRAWN, CLOSED = KINDS = ("giveaway.opened", "giveaway.entered", "giveaway.drawn", "giveaway.closed")
CHAT = "chat.message.sent"
LONGEST_WORD = 150
"""Characters: a keyword has 50, and casefolding makes three of one at most."""

TOLD = f"""
SELECT position, user_id, type, first_party->>'giveaway_id' AS giveaway_id, occurred_at, event_id, platform,
    actor_id AS viewer_id, actor_name AS username, first_party->>'title' AS title,
    first_party->>'keyword' AS keyword, first_party->>'keyword_word' AS keyword_word,
    CASE type WHEN '{OPENED}' THEN coalesce((first_party->'settings')::VARCHAR, '{{}}') END AS settings,
    first_party->'winner'->>'platform' AS winner_platform, first_party->'winner'->>'id' AS winner_id,
    first_party->'winner'->>'name' AS winner
FROM batch WHERE type IN {KINDS}
"""
WORDS = f"""
SELECT position, user_id, first_word AS word, occurred_at, event_id, platform, actor_id AS viewer_id,
    actor_name AS username
FROM batch
WHERE type = '{CHAT}' AND actor_id IS NOT NULL AND by_broadcaster IS NOT TRUE AND length(first_word) <= {LONGEST_WORD}
"""


class Giveaway(Struct, frozen=True):
    """One giveaway; `row` is its latest `opened`. Open from `opened_us` up to before `ended_us` (None: still)."""

    giveaway_id: str
    title: str
    keyword: str | None
    keyword_word: str | None
    settings: str
    opened_us: int
    event_id: str
    ended_us: int | None
    winner_platform: str | None
    winner_id: str | None
    winner: str | None


TURNS = f"""
SELECT giveaway_id, type, epoch_us(occurred_at), event_id, title, keyword, keyword_word, settings, winner_platform,
    winner_id, winner
FROM giveaway_now WHERE user_id = $user_id AND type <> '{ENTERED}' ORDER BY occurred_at, event_id
"""
_ENTRIES = f"""
SELECT platform, viewer_id, min({{{{'us': epoch_us(occurred_at), 'event_id': event_id, 'name': username}}}}) AS entry
FROM (
    SELECT platform, viewer_id, occurred_at, event_id, username FROM giveaway_now
    WHERE user_id = $user_id AND type = '{ENTERED}' AND giveaway_id = $giveaway_id AND {{within}}
    {{words}}
) GROUP BY platform, viewer_id
"""
_WORDS = """
    UNION ALL SELECT platform, viewer_id, occurred_at, event_id, username FROM giveaway_words_now
    WHERE user_id = $user_id AND word = $word AND {within}
"""
_WITHIN = "occurred_at >= make_timestamptz($opened_us::BIGINT)"
_BEFORE_END = " AND occurred_at < make_timestamptz($ended_us::BIGINT)"
ENTRIES = f"SELECT entry['name'], platform, viewer_id FROM ({_ENTRIES}) ORDER BY entry"
ENTRY_COUNT = f"SELECT count(*) FROM ({_ENTRIES})"


def giveaways(reading: Reading) -> list[Giveaway]:
    """All of them, oldest first."""
    turns: dict[str, list[tuple[Any, ...]]] = {}
    for giveaway_id, *turn in reading.rows(TURNS):
        turns.setdefault(giveaway_id, []).append(tuple(turn))
    opened = sorted(
        (next(turn for turn in of if turn[0] == OPENED)[1:3], giveaway_id)
        for giveaway_id, of in turns.items()
        if any(turn[0] == OPENED for turn in of)
    )
    nexts: Iterator[int | None] = iter([*(place[0] for place, _ in opened[1:]), None])
    return [_giveaway(giveaway_id, place, turns[giveaway_id], next(nexts)) for place, giveaway_id in opened]


def _giveaway(giveaway_id: str, place: Any, turns: list[tuple[Any, ...]], next_us: int | None) -> Giveaway:
    opened_us, event_id = place
    _, _, _, title, keyword, keyword_word, settings, *_ = [turn for turn in turns if turn[0] == OPENED][-1]
    ends = [turn[1] for turn in turns if turn[0] != OPENED] + ([] if next_us is None else [next_us])
    drawn = [turn[7:] for turn in turns if turn[0] == DRAWN]
    winner_platform, winner_id, winner = drawn[-1] if drawn else (None, None, None)
    return Giveaway(
        giveaway_id=giveaway_id,
        title=title,
        keyword=keyword,
        keyword_word=keyword_word,
        settings=settings,
        opened_us=opened_us,
        event_id=event_id,
        ended_us=min(ends, default=None),
        winner_platform=winner_platform,
        winner_id=winner_id,
        winner=winner,
    )


def _entries(reading: Reading, giveaway: Giveaway, sql: str) -> Rows:
    within = _WITHIN + (_BEFORE_END if giveaway.ended_us is not None else "")
    words = _WORDS.format(within=within) if giveaway.keyword_word is not None else ""
    return reading.rows(
        sql.format(within=within, words=words),
        giveaway_id=giveaway.giveaway_id,
        word=giveaway.keyword_word,
        opened_us=giveaway.opened_us,
        ended_us=giveaway.ended_us,
    )


def latest_entries(reading: Reading) -> Rows:
    """(name, platform, viewer id) of the open or latest giveaway's entrants."""
    known = reading.shared(giveaways)
    return _entries(reading, known[-1], ENTRIES) if known else []


def now(reading: Reading) -> Rows:
    """`GiveawayRow`, one, or none when there was no giveaway yet."""
    known = reading.shared(giveaways)
    if not known:
        return []
    one = known[-1]
    entered = None
    if one.winner is not None:
        entered = (one.winner_platform, one.winner_id) in {row[1:] for row in reading.shared(latest_entries)}
    told = (one.giveaway_id, one.title, one.keyword, one.settings, one.opened_us, one.ended_us is None)
    return [(*told, one.winner, one.winner_platform, entered)]


def entries(reading: Reading) -> Rows:
    """`GiveawayEntryRow`, in entry order, one per viewer."""
    return [row[:2] for row in reading.shared(latest_entries)]


def history(reading: Reading, *, limit: int, before: Before | None) -> Rows:
    """`GiveawayHistoryRow`, newest first."""
    known = [
        one for one in reading.shared(giveaways) if before is None or (one.opened_us, one.event_id) < tuple(before)
    ]
    rows = []
    for one in reversed(known[-limit:]):
        entered = _entries(reading, one, ENTRY_COUNT)[0][0]
        told = (one.giveaway_id, one.title, one.keyword, one.opened_us, one.ended_us, entered)
        rows.append((*told, one.winner, one.winner_platform, one.event_id))
    return rows


READ_MODEL = ReadModel(
    name="giveaway",
    version=1,
    fold=(
        Fold(into="giveaway", kinds=KINDS, columns=COLUMNS, sql=TOLD),
        Fold(into="giveaway_words", kinds=(CHAT,), columns=WORD_COLUMNS, sql=WORDS, by_user=False),
    ),
    queries=(
        Query(name="giveaway_now", row=GiveawayRow, answer=now),
        Query(name="giveaway_entries", row=GiveawayEntryRow, answer=entries),
        Query(name="giveaway_history", row=GiveawayHistoryRow, answer=history, parameters=("limit", "before")),
    ),
)
