"""The oracle's songs, giveaways, wheel and gambles: what first-party events (and chat keywords) come to.

Everything is a function of one broadcaster's standing events and does not depend on their order in the log: of what
one thing is told, `occurred_at`, then `event_id` decides.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, NamedTuple, TypeVar

from schemas.event import Event
from schemas.first_party_kinds import (
    GamblePlayed,
    GiveawayClosed,
    GiveawayDrawn,
    GiveawayEntered,
    GiveawayOpened,
    SongPlayed,
    SongQueueCleared,
    SongRemoved,
    SongRequested,
    SongSkipped,
    WheelConfigured,
    WheelSpun,
)
from schemas.kinds import ChatMessage
from tests.oracle_log import Log, ViewerKey, name_of, place, viewer_of

Data = TypeVar("Data")


class Song(NamedTuple):
    """A song that waits. `duration_s` in seconds; `provider` as the event has it."""

    requester: str | None
    provider: str | None
    song_url: str
    title: str | None
    duration_s: float | None
    request_id: str
    requested_at: datetime
    platform: str


class EndedSong(NamedTuple):
    """A song played or skipped. Of one that nobody requested only its id is known."""

    requester: str | None
    provider: str | None
    song_url: str | None
    title: str | None
    outcome: Literal["played", "skipped"]
    ended_at: datetime
    event_id: str
    request_id: str


class Entry(NamedTuple):
    """One viewer in a giveaway, by the name of the entering event."""

    username: str
    platform: str
    viewer_id: str


class Won(NamedTuple):
    """Who was drawn last, and whether they are among the entries."""

    username: str
    platform: str
    entered: bool


class Giveaway(NamedTuple):
    """A giveaway: its first opening is its place, its latest one its settings. `ended_at` is None while it is open."""

    giveaway_id: str
    title: str
    keyword: str | None
    settings: dict[str, Any]
    opened_at: datetime
    ended_at: datetime | None
    entries: list[Entry]
    winner: Won | None
    event_id: str


class Wheel(NamedTuple):
    """The wheel. Spun and never configured: `title` None and no segments."""

    title: str | None
    segments: list[str]
    last_result: str | None


class Spin(NamedTuple):
    """A spin of the wheel."""

    result: str
    actor: str | None
    spun_at: datetime
    event_id: str


class Gamble(NamedTuple):
    """A gamble. `bet` and `payout` in coins."""

    username: str | None
    game_type: str
    outcome: str
    bet: int
    payout: int
    platform: str
    played_at: datetime
    event_id: str


# ---------------------------------------------------------------------- songs


def song_queue(log: Log) -> list[Song]:
    """The songs that wait, in play order."""
    over = {data.request_id for _, data in _song_endings(log)}
    cleared = [event.occurred_at for event, _ in _told(log, SongQueueCleared)]
    return [
        Song(
            name_of(event),
            data.provider,
            data.song_url,
            data.title,
            data.duration_s,
            data.request_id,
            event.occurred_at,
            event.platform,
        )
        for event, data in _requests(log)
        if data.request_id not in over and all(event.occurred_at > at for at in cleared)
    ]


def song_history(log: Log) -> list[EndedSong]:
    """The songs played and skipped, the last one in front."""
    requests = {data.request_id: (event, data) for event, data in _requests(log)}
    ended: list[EndedSong] = []
    done: set[str] = set()
    for event, data in _song_endings(log):
        # Reading: of several endings the first decides, so what was removed first is not in the history. Clearing is
        # none: a song that was played after all was played.
        if data.request_id in done:
            continue
        done.add(data.request_id)
        if isinstance(data, SongRemoved):
            continue
        outcome: Literal["played", "skipped"] = "played" if isinstance(data, SongPlayed) else "skipped"
        asked, song = requests.get(data.request_id, (None, None))
        ended.append(
            EndedSong(
                name_of(asked) if asked else None,
                song.provider if song else None,
                song.song_url if song else None,
                song.title if song else None,
                outcome,
                *place(event),
                data.request_id,
            )
        )
    return ended[::-1]


def _song_endings(log: Log) -> list[tuple[Event, SongPlayed | SongSkipped | SongRemoved]]:
    """What is final, in the order in which it happened."""
    endings: list[tuple[Event, SongPlayed | SongSkipped | SongRemoved]] = []
    for event in _events(log):
        if isinstance(event.data, SongPlayed | SongSkipped | SongRemoved):
            endings.append((event, event.data))
    return endings


def _requests(log: Log) -> list[tuple[Event, SongRequested]]:
    """The first request of each id, in play order."""
    first: dict[str, tuple[Event, SongRequested]] = {}
    for event, data in _told(log, SongRequested):
        first.setdefault(data.request_id, (event, data))
    return list(first.values())


# ---------------------------------------------------------------------- giveaways


def giveaways(log: Log) -> list[Giveaway]:
    """Every giveaway, the one first opened last in front."""
    openings: dict[str, list[tuple[Event, GiveawayOpened]]] = {}
    for event, data in _told(log, GiveawayOpened):
        openings.setdefault(data.giveaway_id, []).append((event, data))
    found: list[Giveaway] = []
    following: Event | None = None
    # Reading: only a first opening opens, so only a first opening ends the giveaway before it.
    for giveaway_id, told in sorted(openings.items(), key=lambda item: place(item[1][0][0]), reverse=True):
        first, latest = told[0][0], told[-1][1]
        ends = [event.occurred_at for event in _endings(log, giveaway_id)]
        if following is not None:
            ends.append(following.occurred_at)
        following = first
        ended_at = min(ends, default=None)
        entries = _entries(log, giveaway_id, latest.keyword, first.occurred_at, ended_at)
        found.append(
            Giveaway(
                giveaway_id,
                latest.title,
                latest.keyword,
                latest.settings,
                first.occurred_at,
                ended_at,
                entries,
                _winner(log, giveaway_id, entries),
                first.event_id,
            )
        )
    return found


def _endings(log: Log, giveaway_id: str) -> list[Event]:
    return [
        event
        for event in _events(log)
        if isinstance(event.data, GiveawayDrawn | GiveawayClosed) and event.data.giveaway_id == giveaway_id
    ]


def _entries(
    log: Log, giveaway_id: str, keyword: str | None, opened_at: datetime, ended_at: datetime | None
) -> list[Entry]:
    entries: dict[ViewerKey, Entry] = {}
    for event in _events(log):
        match event.data:
            case GiveawayEntered() as entered:
                enters = entered.giveaway_id == giveaway_id
            case ChatMessage() as chat if keyword is not None and not chat.by_broadcaster:
                enters = [word.casefold() for word in chat.message.split()[:1]] == [keyword.casefold()]
            case _:
                continue
        is_open = opened_at <= event.occurred_at and (ended_at is None or event.occurred_at < ended_at)
        viewer = viewer_of(event)
        if enters and is_open and viewer is not None and event.actor is not None:
            entries.setdefault(viewer, Entry(event.actor.name, *viewer))
    return list(entries.values())


def _winner(log: Log, giveaway_id: str, entries: list[Entry]) -> Won | None:
    drawn = [data.winner for _, data in _told(log, GiveawayDrawn) if data.giveaway_id == giveaway_id]
    if not drawn:
        return None
    winner = drawn[-1]
    return Won(winner.name, winner.platform, (winner.platform, winner.id) in [entry[1:] for entry in entries])


# ---------------------------------------------------------------------- wheel and gambles


def wheel(log: Log) -> Wheel | None:
    """The wheel as it was configured and spun last; None when neither ever happened."""
    configured, spun = _told(log, WheelConfigured), _told(log, WheelSpun)
    if not configured and not spun:
        return None
    title, segments = (configured[-1][1].title, list(configured[-1][1].segments)) if configured else (None, [])
    return Wheel(title, segments, spun[-1][1].result if spun else None)


def spins(log: Log) -> list[Spin]:
    """Every spin of the wheel, the last one in front."""
    return [Spin(data.result, name_of(event), *place(event)) for event, data in reversed(_told(log, WheelSpun))]


def gambles(log: Log) -> list[Gamble]:
    """Every gamble, the last one in front."""
    return [
        Gamble(name_of(event), data.game_type, data.outcome, data.bet, data.payout, event.platform, *place(event))
        for event, data in reversed(_told(log, GamblePlayed))
    ]


def _events(log: Log) -> list[Event]:
    """In the order in which they happened."""
    return sorted((standing.event for standing in log), key=place)


def _told(log: Log, kind: type[Data]) -> list[tuple[Event, Data]]:
    """The events of one kind with their data, in the order in which they happened."""
    return [(event, event.data) for event in _events(log) if isinstance(event.data, kind)]
