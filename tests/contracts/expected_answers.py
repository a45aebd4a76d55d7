"""What each named query must answer, by the oracle, and questions that sit on the boundaries.

`EXPECTED` gives a query's rows as tuples in the order of the row struct's fields, times as epoch microseconds.
`questions` draws parameters for one query; `Choose` is hypothesis or a seeded random.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

from schemas.kinds import KINDS
from tests import oracle_engagement as engagement
from tests.oracle_rows import Numbers
from tests.strategies import BASES, NUDGES, PLATFORMS

T = TypeVar("T")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
US = timedelta(microseconds=1)
Parameters = dict[str, Any]
Rows = list[tuple[Any, ...]]
Place = tuple[int, Any]
"""Where a row stands in its history: a time in epoch microseconds, and what breaks ties."""


class Choose(Protocol):
    """Picks one of a few."""

    def __call__(self, choices: Sequence[T], /) -> T: ...


def microseconds(at: datetime) -> int:
    """Since the epoch."""
    return (at - EPOCH) // US


def _moment(us: int | None) -> datetime | None:
    return None if us is None else EPOCH + us * US


def _plain(rows: Iterable[tuple[Any, ...]]) -> Rows:
    """Rows with their times as microseconds."""
    return [tuple(microseconds(cell) if isinstance(cell, datetime) else cell for cell in row) for row in rows]


def _page(rows: Rows, ask: Parameters, time: int, tie: int) -> Rows:
    """What the question wants of a whole history, whose `time` and `tie` columns tell each row's place."""
    before = ask.get("before")
    kept = [row for row in rows if before is None or (row[time], row[tie]) < tuple(before)]
    return kept[: ask["limit"]]


# ---------------------------------------------------------------------- stream, subscriptions


def _stream_status(numbers: Numbers, _: Parameters) -> Rows:
    states = [(platform, numbers.stream(platform)) for platform in PLATFORMS]
    return [(platform, *s) for platform, s in states if any(s)]


def _subscription_totals(numbers: Numbers, _: Parameters) -> Rows:
    return [(*numbers.subscription_totals(), len(numbers.subscription_rows()))]


def _active_totals(numbers: Numbers, ask: Parameters) -> Rows:
    active = [row.platform for row in numbers.active_rows(ask["platforms"], EPOCH + ask["now_us"] * US)]
    return [(platform, active.count(platform)) for platform in PLATFORMS if platform in active]


def _active_preview(numbers: Numbers, ask: Parameters) -> Rows:
    rows = numbers.active_rows(ask["platforms"], EPOCH + ask["now_us"] * US)
    return [(row.username, row.platform, microseconds(row.value)) for row in rows[: ask["limit"]]]


def _subscription_history(numbers: Numbers, ask: Parameters) -> Rows:
    return _page(_plain(numbers.subscription_rows()), ask, 4, 5)


# ---------------------------------------------------------------------- coins and kicks


def _coins_summary(numbers: Numbers, _: Parameters) -> Rows:
    ranks = numbers.coin_rows()
    return [(sum(row.value for row in ranks), len(ranks))]


def _coins_leaderboard(numbers: Numbers, ask: Parameters) -> Rows:
    ranks = numbers.coin_rows()
    total = (sum(row.value for row in ranks), len(ranks))
    return [(row.username, row.platform, row.value, *total) for row in ranks[: ask["limit"]]]


def _coins_viewer(numbers: Numbers, ask: Parameters) -> Rows:
    found = numbers.coins_of(ask["platform"], ask["username"])
    if found is None:
        return []
    sources = found.account.values()
    return [(found.username, found.platform, found.viewer_id, sum(sources), found.rank, *sources)]


def _loyalty_rules(numbers: Numbers, _: Parameters) -> Rows:
    return [tuple(numbers.rules().values())]


def _kicks_summary(numbers: Numbers, _: Parameters) -> Rows:
    gifts = numbers.kick_rows()
    return [(sum(gift.amount for gift in gifts), len(gifts))]


def _kicks_top(numbers: Numbers, ask: Parameters) -> Rows:
    return [(row.username, row.value) for row in numbers.gifter_rows()[: ask["limit"]]]


def _kicks_history(numbers: Numbers, ask: Parameters) -> Rows:
    return _page(_plain(numbers.kick_rows()), ask, 2, 3)


# ---------------------------------------------------------------------- songs, giveaway, wheel, gamble


def _song_queue(numbers: Numbers, ask: Parameters) -> Rows:
    return _plain(engagement.song_queue(numbers.log))[: ask["limit"]]


def _song_history(numbers: Numbers, ask: Parameters) -> Rows:
    return _page(_plain(engagement.song_history(numbers.log)), ask, 5, 6)


def _giveaway_now(numbers: Numbers, _: Parameters) -> Rows:
    return [
        (
            giveaway.giveaway_id,
            giveaway.title,
            giveaway.keyword,
            giveaway.settings,
            microseconds(giveaway.opened_at),
            giveaway.ended_at is None,
            *(giveaway.winner or (None, None, None)),
        )
        for giveaway in engagement.giveaways(numbers.log)[:1]
    ]


def _giveaway_entries(numbers: Numbers, _: Parameters) -> Rows:
    latest = engagement.giveaways(numbers.log)[:1]
    return [(entry.username, entry.platform) for giveaway in latest for entry in giveaway.entries]


def _giveaway_history(numbers: Numbers, ask: Parameters) -> Rows:
    rows = [
        (
            giveaway.giveaway_id,
            giveaway.title,
            giveaway.keyword,
            giveaway.opened_at,
            giveaway.ended_at,
            len(giveaway.entries),
            *(giveaway.winner or (None, None))[:2],
            giveaway.event_id,
        )
        for giveaway in engagement.giveaways(numbers.log)
    ]
    return _page(_plain(rows), ask, 3, 8)


def _wheel_now(numbers: Numbers, _: Parameters) -> Rows:
    wheel = engagement.wheel(numbers.log)
    return [] if wheel is None else [tuple(wheel)]


def _wheel_history(numbers: Numbers, ask: Parameters) -> Rows:
    return _page(_plain(engagement.spins(numbers.log)), ask, 2, 3)


def _gamble_history(numbers: Numbers, ask: Parameters) -> Rows:
    return _page(_plain(engagement.gambles(numbers.log)), ask, 6, 7)


# ---------------------------------------------------------------------- events


def _events_total(numbers: Numbers, _: Parameters) -> Rows:
    return [(numbers.events_total(),)]


def _events_history(numbers: Numbers, ask: Parameters) -> Rows:
    since, until = _moment(ask.get("since_us")), _moment(ask.get("until_us"))
    rows = numbers.event_rows(ask["type"], ask.get("platform"), ask.get("actor"), since, until)
    return _page(_plain(rows), ask, 4, 5)


EXPECTED: dict[str, Callable[[Numbers, Parameters], Rows]] = {
    "stream_status": _stream_status,
    "subscription_totals": _subscription_totals,
    "active_totals": _active_totals,
    "active_preview": _active_preview,
    "subscription_history": _subscription_history,
    "coins_summary": _coins_summary,
    "coins_leaderboard": _coins_leaderboard,
    "coins_viewer": _coins_viewer,
    "loyalty_rules": _loyalty_rules,
    "kicks_summary": _kicks_summary,
    "kicks_top": _kicks_top,
    "kicks_history": _kicks_history,
    "song_queue": _song_queue,
    "song_history": _song_history,
    "giveaway_now": _giveaway_now,
    "giveaway_entries": _giveaway_entries,
    "giveaway_history": _giveaway_history,
    "wheel_now": _wheel_now,
    "wheel_history": _wheel_history,
    "gamble_history": _gamble_history,
    "events_total": _events_total,
    "events_history": _events_history,
}

_PLACES: dict[str, tuple[int, int]] = {
    "subscription_history": (4, 5),
    "events_history": (4, 5),
    "kicks_history": (2, 3),
    "song_history": (5, 6),
    "giveaway_history": (3, 8),
    "wheel_history": (2, 3),
    "gamble_history": (6, 7),
}
"""Of each history, the columns that tell a row's place."""

PRICED = ("coins_summary", "coins_leaderboard", "coins_viewer", "loyalty_rules")
"""What the order of the log decides where rules were set."""

IN_LOG_ORDER = ("events_history", "subscription_history")
"""Histories whose ties in `received_at` the log decides; their last column is the place in the log."""


# ---------------------------------------------------------------------- questions


def question(name: str, declared: Iterable[str], numbers: Numbers, choose: Choose) -> Parameters:
    """Parameters for one query, of the `declared` names: none, or such as sit on a boundary of what is there."""
    return {key: _CHOICES[key](name, numbers, choose) for key in declared}


def _now(_: str, numbers: Numbers, choose: Choose) -> int:
    expiries = [row.value for row in numbers.active_rows(PLATFORMS, EPOCH)]
    return microseconds(choose([*expiries, BASES[0], BASES[2] + timedelta(days=15)]) + choose(NUDGES))


def _platform(name: str, _: Numbers, choose: Choose) -> str | None:
    wherever: tuple[str | None, ...] = (None, None) if name == "events_history" else ()
    return choose([*wherever, "kick", "twitch", "kick", "twitch", "streamkit", "Kick"])


def _actor(_: str, numbers: Numbers, choose: Choose) -> str | None:
    names = sorted({row.actor for row in numbers.event_rows() if row.actor is not None})
    return choose([None, None, "", "nobody", *names])


def _username(_: str, numbers: Numbers, choose: Choose) -> str:
    name = choose([*sorted(set(numbers.names().values())), "nobody"])
    return choose([name, name.upper(), name.lower(), name.swapcase()])


def _received(_: str, numbers: Numbers, choose: Choose) -> int | None:
    times = sorted({microseconds(row.received_at) for row in numbers.event_rows()})
    at = choose([None, None, None, *times])
    return None if at is None else at + choose([0, 0, 1, -1])


def _before(name: str, numbers: Numbers, choose: Choose) -> list[Any] | None:
    time, tie = _PLACES[name]
    whole = EXPECTED[name](numbers, {"limit": None, "type": None})
    places: list[Place] = [(row[time], row[tie]) for row in whole]
    found = choose([None, *places])
    if found is None:
        return None
    return list(choose([found, found, (found[0] + 1, found[1]), (found[0] - 1, found[1])]))


_CHOICES: dict[str, Callable[[str, Numbers, Choose], Any]] = {
    "now_us": _now,
    "platforms": lambda _name, _numbers, choose: choose([["kick", "twitch"], ["kick"], ["twitch"], []]),
    "limit": lambda _name, _numbers, choose: choose([100, 100, 25, 2, 1]),
    "type": lambda _name, _numbers, choose: choose([None, None, None, "no.such.type", *KINDS]),
    "platform": _platform,
    "actor": _actor,
    "username": _username,
    "since_us": _received,
    "until_us": _received,
    "before": _before,
}
