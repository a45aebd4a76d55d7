"""The routes of songs, giveaways, the wheel and gambling, and how their rows become `data`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from api.answers import Asked
from api.parameters import CURSOR, limit
from api.read import PREFIX, History, Read, limited, paged
from schemas import answers
from schemas.read_models.gamble import GambleRow
from schemas.read_models.giveaway import GiveawayEntryRow, GiveawayHistoryRow, GiveawayRow
from schemas.read_models.songs import SongHistoryRow, SongQueueRow
from schemas.read_models.wheel import WheelRow, WheelSpinRow
from streamkit.reads import Question


def _song_request(asked: Asked, rows: Sequence[SongQueueRow]) -> list[answers.SongRequest]:
    """In play order."""
    return [
        answers.SongRequest(
            row.requester,
            row.provider,
            row.song_url,
            row.platform,
            row.title,
            row.duration_s,
            row.request_id,
            asked.time(row.requested_us),
        )
        for row in rows
    ]


def _song_history(asked: Asked, rows: Sequence[SongHistoryRow]) -> list[answers.PlayedSong]:
    """Newest first."""
    return [
        answers.PlayedSong(
            row.requester,
            row.provider,
            row.song_url,
            row.title,
            row.outcome,
            row.request_id,
            asked.time(row.ended_us),
        )
        for row in rows
    ]


def _giveaway(asked: Asked, rows: Sequence[GiveawayRow], entries: Sequence[GiveawayEntryRow]) -> answers.Giveaway:
    """The open or latest giveaway, or that there was none."""
    if not rows:
        return answers.Giveaway(None, [], None, False)
    (row,) = rows
    winner = None
    if row.winner is not None and row.winner_platform is not None:
        winner = answers.GiveawayWinner(row.winner, row.winner_platform, bool(row.winner_entered))
    further = msgspec.json.decode(row.settings, type=dict[str, Any])
    settings: Any = {"title": row.title, "keyword": row.keyword, **further}
    return answers.Giveaway(
        settings, [answers.GiveawayEntry(entry.username, entry.platform) for entry in entries], winner, row.is_open
    )


def _giveaway_history(asked: Asked, rows: Sequence[GiveawayHistoryRow]) -> list[answers.GiveawayRecord]:
    """Newest first."""
    return [
        answers.GiveawayRecord(
            row.giveaway_id,
            row.title,
            row.keyword,
            asked.time(row.opened_us),
            None if row.ended_us is None else asked.time(row.ended_us),
            row.entries,
            None if row.winner is None else answers.PastWinner(row.winner, row.winner_platform or ""),
        )
        for row in rows
    ]


def _wheel(asked: Asked, rows: Sequence[WheelRow]) -> answers.Wheel:
    """The configuration and the last result."""
    (row,) = rows
    return answers.Wheel(row.title, row.segments, row.last_result)


def _wheel_history(asked: Asked, rows: Sequence[WheelSpinRow]) -> list[answers.WheelSpin]:
    """Newest first."""
    return [answers.WheelSpin(row.result, row.actor, asked.time(row.spun_us)) for row in rows]


def _gamble(asked: Asked, rows: Sequence[GambleRow]) -> list[answers.GambleResult]:
    """Newest first."""
    return [
        answers.GambleResult(
            row.username,
            row.game_type,
            row.outcome,
            row.bet,
            row.payout,
            row.platform,
            asked.time(row.played_us),
        )
        for row in rows
    ]


SONG_REQUEST = Read(
    path=f"{PREFIX}/song-request",
    tag="Engagement",
    summary="Song Request queue",
    description="Current queue of requested songs, in play order.",
    parameters=(limit(10, "Queue size."),),
    data=list[answers.SongRequest],
    example=[
        {
            "requester_username": "viewer123",
            "provider": "youtube",
            "song_url": "https://youtu.be/...",
            "platform": "kick",
            "title": None,
            "duration_s": 212.0,
            "request_id": "r-17",
            "requested_at": "2026-06-06T18:30:00+02:00",
        }
    ],
    questions=lambda asked: (limited("song_queue", asked),),
    build=_song_request,
)
SONG_HISTORY = Read(
    path=f"{PREFIX}/song-request/history",
    tag="Engagement",
    summary="Song Request history",
    description="Songs that were played or skipped, newest first.",
    parameters=(limit(10, "History size."), CURSOR),
    data=list[answers.PlayedSong],
    example=[
        {
            "requester_username": "viewer123",
            "provider": "youtube",
            "song_url": "https://youtu.be/...",
            "title": None,
            "outcome": "played",
            "request_id": "r-16",
            "ended_at": "2026-06-06T18:30:00+02:00",
        }
    ],
    questions=lambda asked: (paged("song_history", asked),),
    build=_song_history,
    history=History(lambda row: (row.ended_us, row.event_id)),
)
GIVEAWAY = Read(
    path=f"{PREFIX}/giveaway",
    tag="Engagement",
    summary="Giveaway state",
    description="Settings, entries and winner of the open or latest giveaway.",
    data=answers.Giveaway,
    example={
        "settings": {"title": "Giveaway", "keyword": "!join"},
        "entries": [{"username": "viewer1", "platform": "kick"}],
        "winner": None,
        "is_open": True,
    },
    questions=lambda asked: (Question("giveaway_now"), Question("giveaway_entries")),
    build=_giveaway,
)
GIVEAWAY_HISTORY = Read(
    path=f"{PREFIX}/giveaway/history",
    tag="Engagement",
    summary="Giveaway history",
    description="All giveaways, newest first.",
    parameters=(limit(10, "History size."), CURSOR),
    data=list[answers.GiveawayRecord],
    example=[
        {
            "giveaway_id": "g-3",
            "title": "Giveaway",
            "keyword": "!join",
            "opened_at": "2026-06-06T18:30:00+02:00",
            "ended_at": "2026-06-06T18:40:00+02:00",
            "entries": 41,
            "winner": {"username": "viewer1", "platform": "kick"},
        }
    ],
    questions=lambda asked: (paged("giveaway_history", asked),),
    build=_giveaway_history,
    history=History(lambda row: (row.opened_us, row.event_id)),
)
WHEEL = Read(
    path=f"{PREFIX}/wheel",
    tag="Engagement",
    summary="Wheel state",
    description="Wheel title, configured segments and last result.",
    data=answers.Wheel,
    example={"title": "Wheel of Fortune", "segments": ["100 coins", "Hydrate"], "last_result": "Hydrate"},
    questions=lambda asked: (Question("wheel_now"),),
    build=_wheel,
)
WHEEL_HISTORY = Read(
    path=f"{PREFIX}/wheel/history",
    tag="Engagement",
    summary="Wheel history",
    description="What the wheel gave, newest first.",
    parameters=(limit(10, "History size."), CURSOR),
    data=list[answers.WheelSpin],
    example=[{"result": "Hydrate", "actor": "viewer1", "spun_at": "2026-06-06T18:30:00+02:00"}],
    questions=lambda asked: (paged("wheel_history", asked),),
    build=_wheel_history,
    history=History(lambda row: (row.spun_us, row.event_id)),
)
GAMBLE = Read(
    path=f"{PREFIX}/gamble",
    tag="Engagement",
    summary="Gamble history",
    description="Latest gamble results for overlay widgets or dashboards, newest first.",
    parameters=(limit(10, "History size."), CURSOR),
    data=list[answers.GambleResult],
    example=[
        {
            "username": "viewer1",
            "game_type": "coinflip",
            "outcome": "win",
            "bet": 10,
            "payout": 20,
            "platform": "kick",
            "played_at": "2026-06-06T18:30:00+02:00",
        }
    ],
    questions=lambda asked: (paged("gamble_history", asked),),
    build=_gamble,
    history=History(lambda row: (row.played_us, row.event_id)),
)

READS = (SONG_REQUEST, SONG_HISTORY, GIVEAWAY, GIVEAWAY_HISTORY, WHEEL, WHEEL_HISTORY, GAMBLE)
